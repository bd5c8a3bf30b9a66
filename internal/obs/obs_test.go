package obs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"
)

func TestNewIsPrivateByDefault(t *testing.T) {
	a, b := New(nil, nil), New(nil, nil)
	if a.Registry() == metrics.DefaultRegistry || a.Registry() == b.Registry() {
		t.Error("registry is shared")
	}
	if a.Logger() == logrus.StandardLogger() || a.Logger() == b.Logger() {
		t.Error("logger is shared")
	}
	log, reg := logrus.New(), metrics.NewRegistry()
	if o := New(log, reg); o.Logger() != log || o.Registry() != reg {
		t.Error("injected parts are not used")
	}
	if d := Discard(); d.Logger().Out != io.Discard {
		t.Error("Discard writes")
	}
	a.Counter("c").Inc(1)
	if b.Counter("c").Count() != 0 || metrics.DefaultRegistry.Get("c") != nil {
		t.Error("a count shows elsewhere")
	}
}

func TestMetricsAreMadeOnce(t *testing.T) {
	o := Discard()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				o.Counter("c").Inc(1)
				o.Gauge("g").Update(7)
				o.Histogram("h").Update(3)
				o.ByType(PacketsIn, "block").Inc(2)
			}
		})
	}
	wg.Wait()
	if n := o.Counter("c").Count(); n != 8000 {
		t.Errorf("counter %d", n)
	}
	if n := o.Histogram("h").Count(); n != 8000 {
		t.Errorf("histogram %d", n)
	}
	if n := o.Counter("neb.net.packets.in.block").Count(); n != 16000 {
		t.Errorf("by type %d", n)
	}
	if v := o.Gauge("g").Value(); v != 7 {
		t.Errorf("gauge %d", v)
	}
}

// The registry may be the user's, with names of his in it.
func TestTakenNamesDoNoHarm(t *testing.T) {
	reg := metrics.NewRegistry()
	if err := reg.Register("g", metrics.NewGauge()); err != nil {
		t.Fatal(err)
	}
	if err := reg.Register("c", metrics.NewCounter()); err != nil {
		t.Fatal(err)
	}
	o := New(nil, reg)
	o.Counter("g").Inc(1)
	o.Gauge("c").Update(1)
	o.Histogram("c").Update(1)
	if reg.Get("g").(metrics.Gauge).Value() != 0 || reg.Get("c").(metrics.Counter).Count() != 0 {
		t.Error("the user's metrics were changed")
	}
}

// Every name is in one namespace, none is there twice, and a prefix does not
// run into another name.
func TestNames(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, v := range spec.Values {
			name, _ := strconv.Unquote(v.(*ast.BasicLit).Value)
			id := spec.Names[i].Name
			if id == "Prefix" { // of them all
				continue
			}
			switch {
			case id == "OtherType", id == "OtherReason":
			case !strings.HasPrefix(name, "neb.net.") || strings.ToLower(name) != name || strings.ContainsAny(name, " /:"):
				t.Errorf("%s = %q", id, name)
			case seen[name] != "":
				t.Errorf("%s and %s are both %q", id, seen[name], name)
			}
			seen[name] = id
		}
		return true
	})
	if len(seen) < 20 {
		t.Errorf("only %d names found", len(seen))
	}
	for name, id := range seen {
		for other := range seen {
			if strings.HasSuffix(name, ".") && name != other && strings.HasPrefix(other, name) {
				t.Errorf("%q lies inside the prefix %s", other, id)
			}
		}
	}
}

func BenchmarkCounter(b *testing.B) {
	o := Discard()
	b.ReportAllocs()
	for b.Loop() {
		o.Counter(PacketsIn).Inc(1)
	}
}
