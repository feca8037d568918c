package rota_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rota-sched/rota"

// floors gives every package its floor: a package imports lower floors only, and
// the rooms of one floor do not know each other. (Source: DESIGN.md, section 3.)
var floors = map[string]int{
	"":             0,
	"fsm":          1,
	"scheduler":    1,
	"jobspecs":     1,
	"examples":     0,
	"agent":        2,
	"api":          2,
	"cluster":      2,
	"history":      2,
	"hostinfo":     2,
	"keeper":       2,
	"leader":       2,
	"agent/exec":   3,
	"agent/noop":   3,
	"agenttest":    3,
	"clustertest":  3,
	"localcluster": 4,
	"node":         4,
	"bench":        5,
	"cmd":          5,
	"cmd/rota":     6,
	"e2e":          6,
}

// only says which package alone may import a library.
var only = map[string]string{
	"github.com/hashicorp/raft":       "cluster",
	"github.com/hashicorp/memberlist": "cluster",
	"github.com/hashicorp/hcl":        "jobspecs",
	"go.etcd.io/bbolt":                "cluster",
}

// pure lists the packages whose functions give the same output for the same
// input, always.
var pure = []string{"", "fsm", "scheduler", "jobspecs"}

type sourceFile struct {
	room string // package folder below the module
	path string
	ast  *ast.File
	fset *token.FileSet
}

// shipped parses every Go file of the module that is not a test, without tools.
func shipped(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "tools" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		room := filepath.ToSlash(filepath.Dir(path))
		if room == "." {
			room = ""
		}
		files = append(files, sourceFile{room: room, path: path, ast: f, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// floorOf finds a room's floor; a folder without its own entry lives on the floor
// of the nearest folder above it, as part of that room.
func floorOf(room string) (string, int, bool) {
	for {
		if floor, ok := floors[room]; ok {
			return room, floor, true
		}
		if room == "" || !strings.Contains(room, "/") {
			return "", 0, false
		}
		room = room[:strings.LastIndexByte(room, '/')]
	}
}

// TestFloors: the house stands because nobody reaches upwards or sideways.
func TestFloors(t *testing.T) {
	for _, f := range shipped(t) {
		room, floor, ok := floorOf(f.room)
		if !ok {
			t.Errorf("%s: package %q has no floor: give it one in house_test.go and docs/ARCHITECTURE.md", f.path, f.room)
			continue
		}
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			checkImport(t, f, room, floor, path)
		}
	}
}

func checkImport(t *testing.T, f sourceFile, room string, floor int, path string) {
	t.Helper()
	for library, owner := range only {
		if strings.HasPrefix(path, library) && !strings.HasPrefix(path, library+"-") && room != owner && room != owner+"test" && floor < 6 {
			t.Errorf("%s: imports %s, which only %s may", f.path, path, owner)
		}
	}
	below, ours := strings.CutPrefix(path, module)
	if !ours {
		if room == "" && strings.Contains(path, ".") {
			t.Errorf("%s: the words import the standard library only, not %s", f.path, path)
		}
		return
	}
	other, otherFloor, ok := floorOf(strings.TrimPrefix(below, "/"))
	if ok && other != room && otherFloor >= floor {
		t.Errorf("%s: floor %d imports %s of floor %d", f.path, floor, path, otherFloor)
	}
}

// TestPurity: what replicas must agree on, and what the simulation replays, reads
// no clock, draws no chance, starts nothing, and walks no map in random order.
func TestPurity(t *testing.T) {
	for _, f := range shipped(t) {
		if !slices.Contains(pure, f.room) {
			continue
		}
		for _, spec := range f.ast.Imports {
			switch path, _ := strconv.Unquote(spec.Path.Value); path {
			case "os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "os/exec", "log", "runtime":
				t.Errorf("%s: a pure package imports %s", f.path, path)
			case "math", "math/big":
				if f.room == "fsm" || f.room == "scheduler" {
					t.Errorf("%s: %s in a package of integers", f.path, path)
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool { return inspectPure(t, f, n) })
	}
}

func inspectPure(t *testing.T, f sourceFile, n ast.Node) bool {
	t.Helper()
	at := func() token.Position { return f.fset.Position(n.Pos()) }
	switch n := n.(type) {
	case *ast.GoStmt:
		t.Errorf("%s: a goroutine in a pure package", at())
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "Tick", "NewTicker", "AfterFunc"}, n.Sel.Name) {
			t.Errorf("%s: time.%s in a pure package", at(), n.Sel.Name)
		}
	case *ast.Ident:
		if (n.Name == "float64" || n.Name == "float32") && (f.room == "fsm" || f.room == "scheduler") {
			t.Errorf("%s: %s in a package of integers", at(), n.Name)
		}
	case *ast.FuncDecl:
		if n.Name.Name == "init" && n.Recv == nil {
			t.Errorf("%s: init()", at())
		}
	}
	return true
}

// TestLicence: what is handed out says under which terms.
func TestLicence(t *testing.T) {
	b, err := os.ReadFile("LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "Apache License") {
		t.Error("LICENSE is not the Apache License")
	}
}
