package archtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// public are the packages that programs import.
var public = []string{"dispatcher", "listener", "netservice", "netservice/nettest", "p2p", "stream"}

// What a public package exports is made of types that readers of its
// documentation can look up: nothing in it has a type of an internal package,
// as an alias would, or a field, a parameter or a constant.
func TestPublicTypesAreReadable(t *testing.T) {
	fset := token.NewFileSet()
	imp := exportData(t, fset)
	for _, pkg := range public {
		p, err := imp.Import(module + "/" + pkg)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range unreadable(p) {
			t.Errorf("%s.%s", pkg, b)
		}
	}
}

// exportData imports packages of this module as the compiler does.
func exportData(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, pkg := range public {
		args = append(args, "./"+pkg)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := make(map[string]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

// unreadable lists what a package exports with a type of an internal package.
func unreadable(p *types.Package) (bad []string) {
	for _, name := range p.Scope().Names() {
		obj := p.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		w := walker{home: p}
		w.object(name, obj)
		bad = append(bad, w.bad...)
	}
	return bad
}

// walker follows what can be seen of an exported name.
type walker struct {
	home *types.Package
	bad  []string
}

func (w *walker) object(name string, obj types.Object) {
	tn, isType := obj.(*types.TypeName)
	if !isType {
		w.typ(name, obj.Type())
		return
	}
	if tn.IsAlias() {
		w.typ(name, types.Unalias(tn.Type()))
		return
	}
	named := tn.Type().(*types.Named)
	w.typ(name, named.Underlying())
	for m := range named.Methods() {
		if m.Exported() {
			w.typ(name+"."+m.Name(), m.Type())
		}
	}
}

// typ looks at the parts of a type that can be seen, and does not enter others.
func (w *walker) typ(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		w.typ(where, types.Unalias(t))
	case *types.Named:
		if pkg := t.Obj().Pkg(); pkg != nil && slices.Contains(strings.Split(pkg.Path(), "/"), "internal") && strings.HasPrefix(pkg.Path(), module) {
			w.bad = append(w.bad, fmt.Sprintf("%s: %s is of an internal package", where, t.Obj().Id()))
		}
		for arg := range t.TypeArgs().Types() {
			w.typ(where, arg)
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				w.typ(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			w.typ(where+"."+m.Name(), m.Type())
		}
	case *types.Signature:
		for v := range t.Params().Variables() {
			w.typ(where, v.Type())
		}
		for v := range t.Results().Variables() {
			w.typ(where, v.Type())
		}
	case *types.Map:
		w.typ(where, t.Key())
		w.typ(where, t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		w.typ(where, t.Elem())
	}
}

// The walk finds each way in which an internal type can show.
func TestUnreadableIsFound(t *testing.T) {
	const inside = "package inside; type T struct{}; const C E = 1; type E int"
	const open = `package open
import "github.com/go-nebnet/nebnet/internal/inside"
type Alias = inside.T
type Field struct { F []*inside.T; hidden inside.T }
type Embedded struct { inside.T }
type Func func(map[string]inside.T)
type Mine struct { t inside.T }
func (Mine) Method() chan inside.T { return nil }
func (Mine) method() inside.T { panic("") }
type Doer interface { Do(inside.T) }
const C = inside.C
var V = []inside.T{}
func F(...inside.T) {}
func f(inside.T) {}
`
	fset := token.NewFileSet()
	made := make(map[string]*types.Package)
	check := func(path, src string) *types.Package {
		t.Helper()
		f, err := parser.ParseFile(fset, path+".go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		conf := types.Config{Importer: importerFunc(func(path string) (*types.Package, error) { return made[path], nil })}
		p, err := conf.Check(path, fset, []*ast.File{f}, nil)
		if err != nil {
			t.Fatal(err)
		}
		made[path] = p
		return p
	}
	check(module+"/internal/inside", inside)
	var found []string
	for _, b := range unreadable(check(module+"/open", open)) {
		name, _, _ := strings.Cut(b, ":")
		found = append(found, name)
	}
	if got, want := strings.Join(found, " "), "Alias C Doer.Do Embedded.T F Field.F Func Mine.Method V"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

type importerFunc func(path string) (*types.Package, error)

func (f importerFunc) Import(path string) (*types.Package, error) { return f(path) }
