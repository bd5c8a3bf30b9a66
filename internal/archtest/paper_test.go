package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What SECURITY.md says is tried is tried: each row of its table has tests, each of
// them exists in the package that it is said to be in, netservice where none is named,
// and each hostile test of netservice stands in a row.
func TestSecurityNamesTests(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool) // package: name
	for _, f := range files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && f.test {
				have[path.Base(f.pkg)+": "+fn.Name.Name] = true
			}
		}
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| .* \| (.*) \|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) < 60 {
		t.Fatalf("only %d rows in %.60q", len(rows), strings.TrimSpace(string(text)))
	}
	test := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	named := make(map[string]bool)
	for _, row := range rows {
		for part := range strings.SplitSeq(row[2], "; ") {
			pkg := "netservice"
			if before, _, ok := strings.Cut(part, ": "); ok {
				pkg = before
			}
			names := test.FindAllStringSubmatch(part, -1)
			if len(names) == 0 {
				t.Errorf("row %s of SECURITY.md: no test in %q", row[1], part)
			}
			for _, m := range names {
				if named[pkg+": "+m[1]] = true; !have[pkg+": "+m[1]] {
					t.Errorf("row %s of SECURITY.md names %s of %s, which does not exist", row[1], m[1], pkg)
				}
			}
		}
	}
	for name := range have {
		if strings.HasPrefix(name, "netservice: TestHostile") && !named[name] {
			t.Errorf("%s stands in no row of SECURITY.md", name)
		}
	}
}
