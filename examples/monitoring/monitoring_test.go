package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-nebnet/nebnet/netservice"
)

// exported are the names of all metrics that a node can have.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	svc, err := netservice.NewNebService(netservice.Config{ChainID: "monitoring"})
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		svc.Collector().Describe(descs)
	}()
	names := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descs {
		names[name.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

// TestMetricsExist holds that nothing watches a metric that no node has.
func TestMetricsExist(t *testing.T) {
	names := exported(t)
	metric := regexp.MustCompile(`\bnebnet_[a-z0-9_]+`)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		used := metric.FindAllString(string(text), -1)
		if len(used) < 10 {
			t.Errorf("%s names %d metrics only", file, len(used))
		}
		for _, m := range used {
			if base := strings.TrimSuffix(m, "_bucket"); !names[m] && !names[base] {
				t.Errorf("%s: no node has %s", file, m)
			}
		}
	}
}

func TestDashboardIsJSON(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID          int
			Title       string
			Description string
			Targets     []struct{ Expr string }
			FieldConfig struct{ Defaults struct{ Unit string } }
			GridPos     struct{ H, W, X, Y int }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %d %q: its ID is taken, or a title, description, query or unit is missing", p.ID, p.Title)
		}
		ids[p.ID] = true
	}
	if len(ids) == 0 {
		t.Error("no panels")
	}
}

// TestPromtool has Prometheus' own tool check and play the rules.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool (package prometheus of Debian)")
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
