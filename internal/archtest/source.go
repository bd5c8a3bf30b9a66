package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// file is what the rules look at.
type file struct {
	pkg     string // directory relative to the module root, "" for the root
	path    string
	test    bool
	lines   int
	imports []string
	syntax  *ast.File
	fset    *token.FileSet
}

// load parses every Go file of a module tree, in path order. Other modules,
// testdata and hidden directories inside it are left out.
func load(root fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p == "." {
				return nil
			}
			_, modErr := fs.Stat(root, path.Join(p, "go.mod"))
			if modErr == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(root, p)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func parse(root fs.FS, p string) (file, error) {
	src, err := fs.ReadFile(root, p)
	if err != nil {
		return file{}, err
	}
	f := file{path: p, pkg: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), fset: token.NewFileSet()}
	if f.pkg == "." {
		f.pkg = ""
	}
	f.syntax, err = parser.ParseFile(f.fset, p, src, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return file{}, err
	}
	f.lines = strings.Count(string(src), "\n")
	for _, s := range f.syntax.Imports {
		if v, err := strconv.Unquote(s.Path.Value); err == nil {
			f.imports = append(f.imports, v)
		}
	}
	return f, nil
}

// generated tells code that a tool wrote.
func (f file) generated() bool { return ast.IsGenerated(f.syntax) }
