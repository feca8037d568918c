package jobspecs_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

const withVariables = `
variable "text" {
  default = "d"
}
variable "number" {
  type    = number
  default = 1
}
variable "flag" {
  type    = bool
  default = false
}
variable "list" {
  type    = list(string)
  default = []
}
variable "set" {
  type    = set(number)
  default = []
}
variable "map" {
  type    = map(number)
  default = {}
}
variable "object" {
  type    = object({ name = string, size = optional(number, 7) })
  default = { name = "x" }
}
variable "any" {
  default = toset(["q"])
}
variable "nothing" {
  type    = string
  default = null
}
job "j" {
  task "a" {
    command = ["x"]
    input {
      all = jsonencode([var.text, var.number, var.flag, var.list, var.set, var.map, var.object, var.any, var.nothing])
    }
  }
}`

func inputOf(t *testing.T, in jobspecs.Inputs) string {
	t.Helper()
	_, job := parseWith(t, withVariables, in)
	var input struct{ All string }
	if err := json.Unmarshal(specOf(t, job, "a").Input, &input); err != nil {
		t.Fatal(err)
	}
	return input.All
}

// TestValuesArriveAsTheirTypes: JSON from the API, texts from the command line.
func TestValuesArriveAsTheirTypes(t *testing.T) {
	if got, want := inputOf(t, jobspecs.Inputs{}), `["d",1,false,[],[],{},{"name":"x","size":7},["q"],null]`; got != want {
		t.Errorf("defaults: %s", got)
	}
	want := `[5,2.5,true,["a","b"],[1,2],{"k":3},{"name":"y","size":9},{"deep":[1,"2"]},"n"]`
	given := vars("text", `5`, "number", `2.5`, "flag", `true`, "list", `["a","b"]`, "set", `[2,1,2]`, "map", `{"k":3}`,
		"object", `{"name":"y","size":9}`, "any", `{"deep":[1,"2"]}`, "nothing", `"n"`)
	if got := inputOf(t, jobspecs.Inputs{Variables: given}); got != want {
		t.Errorf("JSON: %s\nwant  %s", got, want)
	}
	texts := vars("text", `"5"`, "number", `"2.5"`, "flag", `"true"`, "list", `"[\"a\", \"b\"]"`, "set", `"[2, 1]"`, "map", `"{ k = 3 }"`,
		"object", `"{ name = \"y\", size = 9 }"`, "any", `"{}"`, "nothing", `"n"`)
	want = strings.Replace(want, `{"deep":[1,"2"]}`, `"{}"`, 1)
	want = strings.Replace(want, `[5,`, `["5",`, 1) // its type is open: a text stays one
	if got := inputOf(t, jobspecs.Inputs{Variables: texts}); got != want {
		t.Errorf("texts: %s\nwant   %s", got, want)
	}
}

// TestStoredVariablesGiveTheSameJobAgain: a run keeps the values it was started
// with, and its late expressions are evaluated from them.
func TestStoredVariablesGiveTheSameJobAgain(t *testing.T) {
	for _, given := range []map[string]json.RawMessage{
		nil,
		vars("text", `"true"`, "number", `"1e3"`, "flag", `"true"`, "list", `["1","x"]`, "set", `[3]`, "map", `{"a":1}`, "object", `{"name":"n"}`, "any", `"5"`),
		vars("any", `[1,"a",null]`), vars("any", `null`), vars("text", `null`), vars("number", `12345678901234567890123`),
	} {
		f, job := parseWith(t, withVariables, jobspecs.Inputs{Variables: given})
		stored := f.Variables("j")
		if len(stored) != 9 {
			t.Errorf("%d values are stored: %v", len(stored), stored)
		}
		back := make(map[string]json.RawMessage)
		for _, v := range stored {
			back[v.Name] = v.Value
		}
		again, job2 := parseWith(t, withVariables, jobspecs.Inputs{Variables: back})
		if !reflect.DeepEqual(job, job2) || !reflect.DeepEqual(stored, again.Variables("j")) {
			t.Errorf("given %s:\n%s\n%s", given, specOf(t, job, "a").Input, specOf(t, job2, "a").Input)
		}
	}
}

// TestWrongValuesSayWhichVariable and where it is declared.
func TestWrongValuesSayWhichVariable(t *testing.T) {
	for name, c := range map[string]struct {
		given map[string]json.RawMessage
		at    string
		words []string
	}{
		"word for a number": {vars("number", `"five"`), "5:1", []string{"number", "five"}},
		"broken JSON":       {vars("number", `{`), "5:1", []string{"JSON"}},
		"object":            {vars("object", `{"size":1}`), "25:1", []string{"name"}},
		"unknown":           {vars("nmber", `1`), "1:1", []string{`"nmber"`, `"number"`}},
		"expression":        {vars("list", `"[upper(var.text)]"`), "13:1", []string{"literal"}},
		"syntax":            {vars("list", `"[1"`), "13:1", []string{"literal"}},
		"too large":         {vars("text", `"`+strings.Repeat("x", 300<<10)+`"`), "2:1", []string{"262144"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(withVariables)}, jobspecs.Inputs{Variables: c.given})
			d, ok := firstError(ds)
			if !ok || !strings.HasPrefix(d.String(), "t.hcl:"+c.at+":") || !containsAll(d.String(), c.words...) {
				t.Errorf("%s", ds.Error())
			}
		})
	}
}

// TestMissingValueIsAWarningOffline, and what depends on it stays open.
func TestMissingValueIsAWarningOffline(t *testing.T) {
	text := `
variable "names" {
  type = set(string)
}
variable "size" {}
job "j" {
  task "a" {
    for_each = var.names
    command  = ["echo", each.key, var.size]
    output {}
    resources {
      memory = var.size
    }
    priority = var.size
  }
  task "b" {
    command = ["echo", task.a["x"].output]
    when    = var.size > 5
  }
  task "c" {
    matrix {
      x = var.names
    }
    command    = ["echo", matrix.x]
    depends_on = [task.a, task.a[matrix.x]]
  }
}`
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{AllowMissing: true})
	if ds.HasErrors() || len(ds) != 2 || f == nil {
		t.Fatalf("%v\n%s", f, ds.Error())
	}
	if ds[0].Severity != rota.SeverityWarning || !containsAll(ds[0].String(), "t.hcl:2:1", "--var names=") {
		t.Errorf("%s", ds[0])
	}
	refused(t, text, "2:1", "no value", "--var")
}

// TestVariableMistakes in the declaration.
func TestVariableMistakes(t *testing.T) {
	job := "\njob \"j\" {\n  task \"a\" {\n    driver = \"noop\"\n  }\n}\n"
	for name, c := range map[string]struct{ text, at, word string }{
		"type in quotes":  {"variable \"v\" {\n  type    = \"string\"\n  default = \"\"\n}", "2:13", "quotes"},
		"no type":         {"variable \"v\" {\n  type    = strng\n  default = 1\n}", "2:13", "list(TYPE)"},
		"default of var":  {"variable \"v\" {\n  default = var.v\n}", "2:13", "stand for itself"},
		"default of task": {"variable \"v\" {\n  default = task.a\n}", "2:13", "before any task"},
		"twice":           {"variable \"v\" {\n  default = 1\n}\nvariable \"v\" {\n  default = 1\n}", "4:10", "line 1"},
		"half validation": {"variable \"v\" {\n  default = 1\n  validation {\n    condition = var.v > 0\n  }\n}", "3:3", "error_message"},
		"other condition": {"variable \"v\" {\n  default = 1\n  validation {\n    condition = 1 > 0\n    error_message = \"x\"\n  }\n}", "4:17", "var.v"},
		"no bool":         {"variable \"v\" {\n  default = 1\n  validation {\n    condition = [var.v]\n    error_message = \"x\"\n  }\n}", "4:17", "bool"},
		"sensitive":       {"variable \"v\" {\n  default = 1\n  sensitive = true\n}", "3:3", "not built yet"},
		"local twice":     {"locals {\n  a = 1\n}\nlocals {\n  a = 2\n}", "5:3", "line 2"},
		"local cycle":     {"locals {\n  a = local.b\n  b = local.c\n  c = local.b\n}", "3:7", "local.b (line 3) -> local.c (line 4) -> local.b"},
		"local itself":    {"locals {\n  a = local.a\n}", "2:7", "cycle"},
		"local of task":   {"locals {\n  a = task.a.status\n}", "2:7", "before any task"},
		"unknown local":   {"locals {\n  abc = 1\n  b = local.abd\n}", "3:7", `"abc"`},
		"name":            {"variable \"a b\" {}", "1:10", "a_b"},
		"no name":         {"variable {}", "1:1", "NAME"},
		"two names":       {"variable \"a\" \"b\" {}", "1:14", "Too many"},
		"unknown block":   {"locls {\n}", "1:1", `"locals"`},
		"attribute":       {"locals = {}", "1:1", "block"},
		"later":           {"provider \"x\" {\n}", "1:1", "not built yet"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.text+job, c.at, c.word) })
	}
}

// TestLocalsMayComeInAnyOrder, and form long chains.
func TestLocalsMayComeInAnyOrder(t *testing.T) {
	var b strings.Builder
	b.WriteString("locals {\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "  a%d = local.a%d + 1\n", i, i+1)
	}
	b.WriteString("  a5000 = 0\n}\njob \"j\" {\n  task \"a\" {\n    command = [\"echo\", local.a0]\n  }\n}\n")
	_, job := parse(t, b.String())
	if got := specOf(t, job, "a").Command[1]; got != "5000" {
		t.Errorf("%s", got)
	}
}
