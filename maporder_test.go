package rota_test

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestMapsAreWalkedInOrder: in a pure package the order of a map never reaches a
// result. A walk over a map is allowed only with a comment beside it that begins
// with "order:" and says why the order cannot matter; maps.Keys and its kin only
// inside slices.Sorted, SortedFunc or Collect followed by a sort, with the same comment.
func TestMapsAreWalkedInOrder(t *testing.T) {
	cfg := &packages.Config{Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports}
	loaded, err := packages.Load(cfg, ".", "./fsm", "./scheduler", "./jobspecs")
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != len(pure) {
		t.Fatalf("loaded %d packages, want %d", len(loaded), len(pure))
	}
	for _, p := range loaded {
		for _, e := range p.Errors {
			t.Fatalf("load %s: %v", p.PkgPath, e)
		}
		for _, f := range p.Syntax {
			walkFile(t, p, f)
		}
	}
}

func walkFile(t *testing.T, p *packages.Package, f *ast.File) {
	t.Helper()
	excused := map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if strings.Contains(c.Text, "order:") {
				line := p.Fset.Position(c.Pos()).Line
				excused[line], excused[p.Fset.Position(group.End()).Line+1] = true, true
			}
		}
	}
	allowed := map[ast.Node]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if pkg, name := callee(p, n); pkg == "slices" && strings.HasPrefix(name, "Sorted") {
				allowed[ast.Unparen(n.Args[0])] = true
			} else if pkg == "maps" && slices.Contains([]string{"Keys", "Values", "All"}, name) && !allowed[n] {
				report(t, p, excused, n.Pos())
			}
		case *ast.RangeStmt:
			if _, isMap := p.TypesInfo.TypeOf(n.X).Underlying().(*types.Map); isMap && n.Key != nil {
				report(t, p, excused, n.Pos())
			}
		}
		return true
	})
}

func callee(p *packages.Package, call *ast.CallExpr) (pkg, name string) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if fn, ok := p.TypesInfo.Uses[sel.Sel].(*types.Func); ok && fn.Pkg() != nil {
		return fn.Pkg().Path(), fn.Name()
	}
	return "", ""
}

func report(t *testing.T, p *packages.Package, excused map[int]bool, pos token.Pos) {
	t.Helper()
	at := p.Fset.Position(pos)
	if !excused[at.Line] {
		t.Errorf("%s: a map is walked in its own order: sort the keys, or say beside it why the order cannot matter (// order: ...)", at)
	}
}
