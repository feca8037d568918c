package jobspecs_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// evaluate gives the JSON of an expression.
func evaluate(t *testing.T, expression string, files ...rota.File) (string, rota.Diagnostics) {
	t.Helper()
	text := "locals {\n  five = 5\n  l = [\"b\", \"a\"]\n  o = { x = 1, y = 2 }\n}\njob \"j\" {\n  task \"a\" {\n    command = [\"x\"]\n    input {\n      v = " + expression + "\n    }\n  }\n}"
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text), Files: files}, jobspecs.Inputs{})
	if ds.HasErrors() {
		return "", ds
	}
	job, _ := f.Job("")
	var input struct{ V json.RawMessage }
	if err := json.Unmarshal(specOf(t, job, "a").Input, &input); err != nil {
		t.Fatal(err)
	}
	return string(input.V), nil
}

// TestFunctionsMeanWhatTerraformsMean: every function of JOBSPEC.md, section 3.
func TestFunctionsMeanWhatTerraformsMean(t *testing.T) {
	for expression, want := range map[string]string{
		`[abs(-2), ceil(1.2), floor(1.8), max(1, 3, 2), min(local.five, 2), sum([1, 2.5])]`:                                     `[2,2,1,3,2,3.5]`,
		`[range(3), length("häß"), length(local.l), length(local.o), length([]), length({})]`:                                   `[[0,1,2],3,2,2,0,0]`,
		`[keys(local.o), values(local.o), lookup(local.o, "z", 9), merge(local.o, { y = 3 })]`:                                  `[["x","y"],[1,2],9,{"x":1,"y":3}]`,
		`[concat(local.l, ["c"]), flatten([[1], [[2]]]), distinct(["a", "a"]), contains(local.l, "a")]`:                         `[["b","a","c"],[1,2],["a"],true]`,
		`[element(local.l, 3), slice([1, 2, 3], 1, 3), sort(local.l), reverse([1, 2]), zipmap(["k"], [1])]`:                     `["a",[2,3],["a","b"],[2,1],{"k":1}]`,
		`[toset(["b", "a", "b"]), tolist([1]), tomap({ a = 1 }), tostring(5), tonumber("5"), tobool("true")]`:                   `[["a","b"],[1],{"a":1},"5",5,true]`,
		`[join("-", local.l), split(",", "a,b"), replace("abab", "a", "x"), replace("abab", "/[ab]$/", "!")]`:                   `["b-a",["a","b"],"xbxb","aba!"]`,
		`[regex("[0-9]+", "ab12"), regexall("[a-z]", "a1b"), trimspace(" x "), trimprefix("abc", "a"), trimsuffix("abc", "c")]`: `["12",["a","b"],"x","bc","ab"]`,
		`[upper("ä"), lower("Ä"), title("ab cd"), format("%03d|%s", 7, "x"), formatlist("%s!", local.l)]`:                       `["Ä","ä","Ab Cd","007|x",["b!","a!"]]`,
		`[jsonencode({ a = [1, null] }), jsondecode("{\"a\":[1]}").a[0], base64encode("hé"), base64decode("aMOp")]`:             `["{\"a\":[1,null]}",1,"aMOp","hé"]`,
		`[sha256(""), coalesce(null, "", "x"), coalesce(null, 5), try(local.o.z, "none"), can(local.o.z), can(local.o.x)]`:      `["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","x",5,"none",false,true]`,
		`[startswith("abc", "ab"), endswith("abc", "ab"), setunion(["a"], ["b"]), setintersection(["a", "b"], ["b"])]`:          `[true,false,["a","b"],["b"]]`,
		`[for k, v in local.o : "${k}${v}" if v > 1]`:                                                                           `["y2"]`, `{ for k, v in local.o : v => k }`: `{"1":"x","2":"y"}`,
		`local.l[*]`: `["b","a"]`, `"%{ for x in local.l }${x},%{ endfor }%{ if true }!%{ endif }"`: `"b,a,!"`, `1 == 1 ? "yes" : "no"`: `"yes"`,
		`-5 % 3`: `-2`, `7 / 2`: `3.5`, `!true || 2 >= 2 && "a" != "b"`: `true`, `"$${x} %%{y}"`: `"${x} %{y}"`,
	} {
		got, ds := evaluate(t, expression)
		if got != want || ds.HasErrors() {
			t.Errorf("%s\n gives %s\n want  %s\n%s", expression, got, want, ds.Error())
		}
	}
}

// TestFunctionsRefuseWithAPlace: a wrong argument is a diagnostic.
func TestFunctionsRefuseWithAPlace(t *testing.T) {
	for expression, word := range map[string]string{
		`sum([])`: "empty", `sum(5)`: "list", `sum(["x"])`: "number", `length(5)`: "list", `base64decode("%")`: "base64", `base64decode("/w==")`: "UTF-8",
		`coalesce(null, "")`: "every argument", `coalesce(1, [])`: "type", `replace("a", "/(/", "")`: "missing closing )", `regex("a", "b")`: "match",
		`jsondecode("{")`: "", `jsondecode("` + strings.Repeat("[", 300) + `")`: "larger", `upper()`: "argument", `range(1, 2, 0)`: "", `element([], 0)`: "empty",
		`file("../secret")`: "below", `file("/etc/passwd")`: "below", `file("nobody.txt")`: "not sent", `fileset("..", "*")`: "below", `templatefile("none.tpl", {})`: "not sent",
	} {
		_, ds := evaluate(t, expression)
		d, ok := firstError(ds)
		if !ok || d.Range.Start.Line != 10 || !strings.Contains(strings.ToLower(d.Summary+d.Detail), strings.ToLower(word)) {
			t.Errorf("%s: want %q\n%s", expression, word, ds.Error())
		}
	}
}

var sentAlong = []rota.File{
	{Path: "lib/b.sh", Data: []byte("bb")},
	{Path: "lib/deep/c.sh", Data: []byte("cc")},
	{Path: "mail.tpl", Data: []byte("Dear ${name},\n%{ for x in items }- ${upper(x)}\n%{ endfor }")},
	{Path: "prompt.txt", Data: []byte("${{ literal }} %{ too }\n")},
	{Path: "bad.tpl", Data: []byte("${nobody}")},
	{Path: "broken.tpl", Data: []byte("a\n${")},
	{Path: "binary", Data: []byte{0xff}},
}

// TestFilesComeFromWhatWasSentAlong, never from a disk.
func TestFilesComeFromWhatWasSentAlong(t *testing.T) {
	for expression, want := range map[string]string{
		`file("prompt.txt")`: `"${{ literal }} %{ too }\n"`, `file("./lib/../prompt.txt")`: `"${{ literal }} %{ too }\n"`,
		`fileset("lib", "*.sh")`: `["b.sh"]`, `fileset(".", "**/*.sh")`: `["lib/b.sh","lib/deep/c.sh"]`, `fileset("none", "*")`: `[]`,
		`templatefile("mail.tpl", { name = "Ada", items = ["x"] })`: `"Dear Ada,\n- X\n"`,
	} {
		got, ds := evaluate(t, expression, sentAlong...)
		if got != want || ds.HasErrors() {
			t.Errorf("%s gives %s, want %s\n%s", expression, got, want, ds.Error())
		}
	}
	for expression, word := range map[string]string{
		`templatefile("bad.tpl", {})`: "bad.tpl:1:3", `templatefile("broken.tpl", {})`: "broken.tpl:", `file("binary")`: "UTF-8", `templatefile("mail.tpl", 5)`: "object",
	} {
		if _, ds := evaluate(t, expression, sentAlong...); !strings.Contains(ds.Error(), word) {
			t.Errorf("%s: %q is not said: %s", expression, word, ds.Error())
		}
	}
}

const readsFiles = `
locals {
  a = file("prompts/one.txt")
  b = fileset("lib", "**/*.sh")
  c = templatefile("./mail.tpl", {})
  d = file(local.x)
  e = file("../outside")
  f = "file(\"no.txt\") is only text"
  x = "y"
}
`

// TestFilesAreFoundBeforeTheyAreRead: the submitter learns what to send along.
func TestFilesAreFoundBeforeTheyAreRead(t *testing.T) {
	src := jobspecs.Source{Filename: "t.hcl", Text: []byte(readsFiles)}
	if got, want := jobspecs.Files(src), []string{"lib/**/*.sh", "mail.tpl", "prompts/one.txt"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	dir := fstest.MapFS{
		"prompts/one.txt": {Data: []byte("1")}, "lib/a.sh": {Data: []byte("2")}, "lib/x/b.sh": {Data: []byte("3")}, "lib/c.txt": {}, "other.sh": {},
	}
	files, ds := jobspecs.Collect(dir, src)
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	if want := []string{"lib/a.sh", "lib/x/b.sh", "prompts/one.txt"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if len(ds) != 1 || !containsAll(ds.Error(), "t.hcl:5:7", `"mail.tpl"`) {
		t.Errorf("%s", ds.Error())
	}
	dir["prompts/one.txt"].Data = make([]byte, 2<<20)
	if _, ds := jobspecs.Collect(dir, src); !containsAll(ds.Error(), "1 MiB") {
		t.Errorf("%s", ds.Error())
	}
}

// TestMatchKnowsFolders: ** stands for any number of them.
func TestMatchKnowsFolders(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*.sh", "a.sh", true},
		{"*.sh", "x/a.sh", false},
		{"**/*.sh", "a.sh", true},
		{"**/*.sh", "x/y/a.sh", true},
		{"x/**", "x/y/z", true},
		{"x/**/z", "x/z", true},
		{"x/**/z", "x/y/w/z", true},
		{"x/**/z", "y/z", false},
		{"?", "ab", false},
		{"[", "[", false},
	} {
		if got := jobspecs.Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// TestHashIsTheTextAndItsFiles, not their order or the name.
func TestHashIsTheTextAndItsFiles(t *testing.T) {
	base := jobspecs.Source{Filename: "a.hcl", Text: []byte("x"), Files: []rota.File{{Path: "p", Data: []byte("1")}, {Path: "q", Data: []byte("2")}}}
	same := jobspecs.Source{Filename: "b/c.hcl", Text: []byte("x"), Files: []rota.File{base.Files[1], base.Files[0]}}
	if jobspecs.Hash(base) != jobspecs.Hash(same) || len(jobspecs.Hash(base)) != 64 {
		t.Error("the same source has two hashes")
	}
	for name, other := range map[string]jobspecs.Source{
		"text": {Filename: "a.hcl", Text: []byte("y"), Files: base.Files}, "syntax": {Filename: "a.json", Text: []byte("x"), Files: base.Files},
		"no files": {Filename: "a.hcl", Text: []byte("x")}, "moved": {Filename: "a.hcl", Text: []byte("x"), Files: []rota.File{{Path: "p1", Data: nil}, {Path: "q", Data: []byte("2")}}},
	} {
		if jobspecs.Hash(base) == jobspecs.Hash(other) {
			t.Errorf("%s: two sources have one hash", name)
		}
	}
}

// TestFormatKeepsMeaningAndComments.
func TestFormatKeepsMeaningAndComments(t *testing.T) {
	out, ds := jobspecs.Format([]byte("# why\njob \"j\" {\ntask \"a\" { # here\ncommand=[\"x\" ,\"y\"]\ntype = \"t\"\n}\n}\n"))
	want := "# why\njob \"j\" {\n  task \"a\" { # here\n    command = [\"x\", \"y\"]\n    type    = \"t\"\n  }\n}\n"
	if ds.HasErrors() || string(out) != want {
		t.Errorf("%s%s", out, ds.Error())
	}
	if out, ds := jobspecs.Format([]byte("job \"j {\n")); out != nil || len(ds) != 1 || ds[0].Range.Start.Column != 5 {
		t.Errorf("%s%s", out, ds.Error())
	}
	if out, ds := jobspecs.Format([]byte(`{"job":{"j":{}}}`)); ds.HasErrors() || !strings.Contains(string(out), "\n  \"job\": {\n") {
		t.Errorf("%s%s", out, ds.Error())
	}
}
