package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

const module = "github.com/go-nebnet/nebnet"

// Lines of a file at which somebody should ask for its second concept, and at
// which the test fails.
const (
	warnLines = 400
	maxLines  = 800
)

// imports says which packages of this module a package may import. A name
// ending in /... covers what is below it. A package that is neither listed nor
// below a listed one is an error: whoever adds one decides where it belongs.
//
// Test files may also import testSupport.
var imports = map[string][]string{
	// Public packages, lowest first.
	"stream":     {"internal/obs", "internal/neterr"},
	"listener":   {"internal/obs", "stream"},
	"p2p":        {"internal/obs", "internal/neterr", "internal/multistream", "stream", "listener"},
	"dispatcher": {"internal/obs", "internal/msgtype", "internal/setting", "internal/lifecycle"},
	"netservice": {"dispatcher", "p2p", "listener", "stream", "internal/..."},

	// The root holds documentation only.
	"": {},

	// Leaves.
	"internal/obs":         {},
	"internal/identity":    {},
	"internal/p2phost":     {"internal/obs", "internal/setting"},
	"internal/pacing":      {},
	"internal/random":      {},
	"internal/setting":     {},
	"internal/lifecycle":   {},
	"internal/tokenbucket": {},
	"internal/neterr":      {},
	"internal/multistream": {},
	"internal/msgtype":     {"internal/setting"},
	"internal/archtest":    {},
	"internal/bench":       {}, // baselines to compare with

	// Engines beside each other. They build on leaves and never on each other.
	"internal/handshake": {"internal/obs", "internal/neterr", "internal/multistream"},
	"internal/session":   engine,
	"internal/peers":     engine,
	"internal/discovery": engine,
	"internal/gossip":    engine,
	"internal/swarm":     engine,
	"internal/reqresp":   engine,
	"internal/inspect":   engine,

	// Test support and programs.
	"internal/testnet":   {"internal/obs", "internal/identity", "internal/p2phost", "internal/lifecycle"},
	"internal/testkit":   {},
	"internal/netns":     {},
	"netservice/nettest": {"netservice", "dispatcher", "p2p", "listener", "stream", "internal/..."},
	"examples/...":       {"netservice", "netservice/nettest", "dispatcher", "p2p", "listener", "stream"},
}

// engine is what an engine may import: leaves, and the dispatcher where a
// Message has to be handed over.
var engine = []string{"internal/obs", "internal/pacing", "internal/random", "internal/identity", "internal/p2phost", "internal/handshake", "internal/setting", "internal/lifecycle", "internal/tokenbucket", "internal/neterr", "internal/multistream", "internal/msgtype", "dispatcher"}

// testSupport may be imported by any test file.
var testSupport = []string{"internal/neterr", "internal/testkit", "internal/testnet", "internal/bench", "netservice/nettest", "internal/obs", "internal/identity", "internal/p2phost", "internal/msgtype"}

// anyTest lists packages whose tests join everything.
var anyTest = []string{"internal/inspect/browser", "internal/discovery/kad/interop", "netservice", "netservice/nettest", "internal/testnet", "internal/netns"}

// check returns what breaks the rules and what only deserves a look.
func check(files []file) (broken, warnings []string) {
	for _, f := range files {
		bad := func(format string, args ...any) {
			broken = append(broken, f.path+": "+fmt.Sprintf(format, args...))
		}
		checkImports(f, bad)
		switch {
		case f.generated():
		case f.lines > maxLines:
			bad("%d lines, at most %d", f.lines, maxLines)
		case f.lines > warnLines:
			warnings = append(warnings, fmt.Sprintf("%s: %d lines: which second concept moved in?", f.path, f.lines))
		}
		if !f.test {
			checkState(f, bad)
			checkNames(f, bad)
		}
	}
	return broken, warnings
}

func checkImports(f file, bad func(string, ...any)) {
	own, known := place(f.pkg)
	if !known {
		bad("package %s has no place in the import rules yet", f.pkg)
		return
	}
	for _, imp := range f.imports {
		if imp != module && !strings.HasPrefix(imp, module+"/") {
			continue
		}
		target := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
		home, _ := place(target)
		switch {
		case home == own || matches(imports[own], target):
		case f.test && (slices.Contains(anyTest, f.pkg) || matches(testSupport, target)):
		default:
			bad("must not import %s", target)
		}
	}
}

// place finds the line of imports that a package belongs to: its own, or that
// of the nearest package above it, whose rights it shares and whose parts it
// may import.
func place(pkg string) (string, bool) {
	for p := pkg; ; p = path.Dir(p) {
		if _, ok := imports[p]; ok {
			return p, true
		}
		if _, ok := imports[p+"/..."]; ok {
			return p + "/...", true
		}
		if !strings.Contains(p, "/") {
			return "", false
		}
	}
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, all := strings.CutSuffix(p, "/...")
		return p == pkg || all && (pkg == below || strings.HasPrefix(pkg, below+"/"))
	})
}

// checkNames keeps every metric name in one file, where it can be seen that
// none comes from a peer.
func checkNames(f file, bad func(string, ...any)) {
	if f.path == "internal/obs/names.go" || f.pkg == "internal/archtest" {
		return
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(strings.Trim(lit.Value, "\"`"), "neb.net.") {
			bad("line %d: metric name %s belongs in internal/obs/names.go", f.fset.Position(lit.Pos()).Line, lit.Value)
		}
		return true
	})
}

// shared are names of other packages that stand for state of the whole
// process, which a library must not touch.
var shared = map[string][]string{
	"github.com/rcrowley/go-metrics":                 {"DefaultRegistry", "Register", "GetOrRegister", "GetOrRegisterCounter", "GetOrRegisterGauge", "GetOrRegisterHistogram", "GetOrRegisterMeter", "GetOrRegisterTimer", "NewMeter", "NewTimer"},
	"github.com/prometheus/client_golang/prometheus": {"DefaultRegisterer", "DefaultGatherer", "MustRegister", "Register", "Unregister"},
	"github.com/sirupsen/logrus": {"StandardLogger", "SetLevel", "SetOutput", "SetFormatter", "AddHook", "WithField", "WithFields", "WithError", "WithContext",
		"Trace", "Debug", "Info", "Warn", "Error", "Fatal", "Panic", "Print", "Tracef", "Debugf", "Infof", "Warnf", "Errorf", "Fatalf", "Panicf", "Printf",
		"Traceln", "Debugln", "Infoln", "Warnln", "Errorln", "Fatalln", "Panicln", "Println"},
	"log":      {"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "SetOutput", "SetFlags"},
	"log/slog": {"SetDefault", "Debug", "Info", "Warn", "Error"},
	"os":       {"Exit"},
}

// checkState finds what leans on the process: init functions, standard
// loggers, default registries, panics and exits. Programs may do most of it.
func checkState(f file, bad func(string, ...any)) {
	if f.pkg == "examples" || strings.HasPrefix(f.pkg, "examples/") {
		return
	}
	local := map[string]string{} // name in this file -> import path
	for i, s := range f.syntax.Imports {
		p := f.imports[i]
		if _, ok := shared[p]; !ok {
			continue
		}
		name := p[strings.LastIndexByte(p, '/')+1:]
		if p == "github.com/rcrowley/go-metrics" {
			name = "metrics"
		}
		if s.Name != nil {
			name = s.Name.Name
		}
		local[name] = p
	}
	at := func(n ast.Node) int { return f.fset.Position(n.Pos()).Line }
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				bad("line %d: func init has side effects of importing", at(n))
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && slices.Contains(shared[local[x.Name]], n.Sel.Name) {
				bad("line %d: %s.%s belongs to the whole process", at(n), x.Name, n.Sel.Name)
			}
		case *ast.CallExpr:
			if x, ok := n.Fun.(*ast.Ident); ok && x.Name == "panic" {
				bad("line %d: panic in library code", at(n))
			}
		}
		return true
	})
}
