package inspect

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rcrowley/go-metrics"

	"net/http/httptest"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// everything is a registry with a value in each family.
func everything(reg metrics.Registry) *obs.Obs {
	o := obs.New(nil, reg)
	for _, f := range families {
		name := f.source
		if len(f.labels) > 0 {
			name = key(&f) + strings.Join([]string{"a", "b.c"}[:len(f.labels)], ".")
		}
		switch f.kind {
		case counter:
			o.Counter(name).Inc(3)
		case gauge:
			o.Gauge(name).Update(7)
		case histogram:
			o.Histogram(name).Update(1500)
		}
	}
	return o
}

// scrape is what Prometheus would read, in the text format.
func scrape(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("scrape: %s", rec.Body)
	}
	return rec.Body.String()
}

func TestCollectorExportsEveryFamily(t *testing.T) {
	for _, prefix := range []string{"", "app.node."} {
		reg := metrics.NewRegistry()
		everything(metrics.NewPrefixedChildRegistry(reg, prefix))
		_ = reg.Register("somebody.else", metrics.NewCounter())
		text := scrape(t, NewCollector(reg))
		for _, f := range families {
			if !strings.Contains(text, "\n"+f.name+"{") && !strings.Contains(text, "\n"+f.name+" ") && !strings.Contains(text, "\n"+f.name+"_bucket{") {
				t.Errorf("prefix %q: %s is not exported", prefix, f.name)
			}
		}
		for _, want := range []string{
			`nebnet_gossip_turned_away_total{reason="a",type="b.c"} 3`,
			`nebnet_peers{direction="inbound"} 7`,
			`nebnet_handshakes_refused_total{by="peer",reason="a"} 3`,
			`nebnet_ping_round_trip_seconds_bucket{le="0.0025"} 1`,
			`nebnet_ping_round_trip_seconds_bucket{le="0.001"} 0`,
			`nebnet_ping_round_trip_seconds_sum 0.0015`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("prefix %q: no %s", prefix, want)
			}
		}
		if strings.Contains(text, "somebody") {
			t.Error("metrics of others are exported")
		}
	}
}

// Sums beside their parts would be counted twice.
func TestCollectorLeavesOutSums(t *testing.T) {
	o := obs.New(nil, nil)
	o.Counter(obs.PacketsIn).Inc(10)
	o.ByType(obs.PacketsIn, "a").Inc(4)
	o.ByType(obs.PacketsIn, "b.v2").Inc(6)
	want := `# HELP nebnet_messages_received_total Messages read from message streams.
# TYPE nebnet_messages_received_total counter
nebnet_messages_received_total{type="a"} 4
nebnet_messages_received_total{type="b.v2"} 6
`
	if err := testutil.CollectAndCompare(NewCollector(o.Registry()), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// A program that has taken a name keeps it, and breaks no scrape.
func TestCollectorSkipsForeignKinds(t *testing.T) {
	reg := metrics.NewRegistry()
	_ = reg.Register(obs.QueueBytes, metrics.NewCounter())
	_ = reg.Register(obs.PingRTT, metrics.NewHistogram(metrics.NewUniformSample(8)))
	if text := scrape(t, NewCollector(reg)); strings.Contains(text, "nebnet_send_queue_bytes") || strings.Contains(text, "round_trip") {
		t.Error(text)
	}
}

// TestEveryMetricHasAFamily holds that a name which is added to the library is
// exported too.
func TestEveryMetricHasAFamily(t *testing.T) {
	sums := map[string]bool{obs.Prefix: true, obs.Sessions: true}
	sources := map[string]bool{}
	for _, f := range families {
		sources[f.source] = true
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../obs/names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil || !strings.HasPrefix(name, obs.Prefix) {
			return true
		}
		found++
		if !sources[name] && !sums[name] {
			t.Errorf("%s is not exported to Prometheus: families.go lacks it", name)
		}
		return true
	})
	if found < 50 {
		t.Errorf("found %d names only", found)
	}
}

// TestPromtool has Prometheus' own linter read what is exported.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool (package prometheus of Debian)")
	}
	reg := metrics.NewRegistry()
	everything(reg)
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, NewCollector(reg)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
