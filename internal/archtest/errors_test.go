package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Texts of errors begin with no package of ours: a program prefixes them with what it
// was about, and its users know nothing of our packages.
func TestErrorsNameNoPackage(t *testing.T) {
	root := filepath.Join("..", "..")
	packages := map[string]bool{}
	type found struct{ file, text string }
	var texts []found
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata" || d.Name() == "testnet" || d.Name() == "examples") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		packages[f.Name.Name] = true
		for _, text := range errorTexts(f) {
			texts = append(texts, found{path, text})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 100 || !packages["netservice"] {
		t.Fatalf("%d texts in %d packages: the walk is wrong", len(texts), len(packages))
	}
	for _, x := range texts {
		if p := prefix(x.text); packages[p] && !isWord[p] {
			t.Errorf("%s: %q begins with the name of a package", x.file, x.text)
		}
	}
}

// isWord are names of packages that are what an error may be about, too: of the
// dispatcher, a program that has one knows.
var isWord = map[string]bool{"dispatcher": true, "handshake": true, "identity": true, "listener": true, "stream": true}

// errorTexts are the literals that errors.New and fmt.Errorf get first.
func errorTexts(f *ast.File) (out []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		fun, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || fun.Sel.Name != "New" && fun.Sel.Name != "Errorf" {
			return true
		}
		if pkg, ok := fun.X.(*ast.Ident); !ok || pkg.Name != "errors" && pkg.Name != "fmt" {
			return true
		}
		if lit, ok := call.Args[0].(*ast.BasicLit); ok {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, text)
			}
		}
		return true
	})
	return out
}

// prefix is the word before the first colon, if it is one.
func prefix(text string) string {
	p, _, ok := strings.Cut(text, ":")
	if !ok || strings.ContainsAny(p, " %") {
		return ""
	}
	return p
}

func TestErrorTexts(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
var a = errors.New("netservice: no")
var b = fmt.Errorf("open %s: %w", 1, a)
var c = errors.New(text)
var d = other.New("gossip: no")`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := errorTexts(f); len(got) != 2 || prefix(got[0]) != "netservice" || prefix(got[1]) != "" {
		t.Errorf("%q", got)
	}
}
