package browser

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/netservice"
)

const evil = `<script>document.title="owned"</script>`

var tx = netservice.Declare("tx", netservice.Raw())

// network starts five services that all know the first one, the second one with
// a hostile agent.
func network(t *testing.T) []*netservice.NebService {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	var nodes []*netservice.NebService
	for i := range 5 {
		cfg := netservice.Config{ChainID: "browser", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Agent: fmt.Sprintf("node-%d", i)}
		if i == 1 {
			cfg.Agent = evil
		}
		if i > 0 {
			cfg.Bootstrap = []string{nodes[0].Node().Addrs()[0].String()}
		}
		s, err := netservice.NewNebService(cfg, netservice.WithLogger(log))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		s.Inspector() // notes events from now on
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Stop() })
		nodes = append(nodes, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, s := range nodes {
		if err := s.WaitForPeers(ctx, 4); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// browser starts Chromium and collects what goes wrong in the page.
func browser(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("needs Chromium (package chromium of Debian)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	alloc, cancelAlloc := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancelAlloc)
	life, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		// Waits for the browser to end, so that it lets go of its folder.
		if err := chromedp.Cancel(life); err != nil {
			t.Log(err)
		}
		cancel()
	})
	run(t, life, "start", chromedp.Navigate("about:blank"))
	ctx, cancelTime := context.WithTimeout(life, 2*time.Minute)
	t.Cleanup(cancelTime)
	var mu sync.Mutex
	var wrong []string
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			wrong = append(wrong, fmt.Sprint(e.ExceptionDetails.Text))
		case *runtime.EventConsoleAPICalled:
			wrong = append(wrong, fmt.Sprint("console: ", e.Type))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return wrong
	}
}

func run(t *testing.T, ctx context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// get runs an action that gives something.
func get[T any](t *testing.T, ctx context.Context, what string, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// shown is the text of an element as a person reads it. It is asked in one step:
// the page replaces its elements each second.
func shown(selector string) chromedp.Action[string] {
	return chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q).innerText", selector))
}

// until waits for a condition in the page.
func until(condition string, within time.Duration) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			// While a page loads there is nothing to ask yet.
			if ok, err := chromedp.Evaluate[bool](condition)(ctx, target); ok && err == nil {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("%w: %s", ctx.Err(), condition)
			}
		}
	})
}

// picture saves what is seen.
func picture(t *testing.T, ctx context.Context, name string, width, height int64) {
	t.Helper()
	run(t, ctx, "size of "+name, chromedp.EmulateViewport(width, height), until(fmt.Sprintf("innerWidth === %d", width), 10*time.Second))
	png := get(t, ctx, "picture "+name, chromedp.CaptureScreenshot())
	if err := os.MkdirAll("screenshots", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("screenshots", name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPageInABrowser(t *testing.T) {
	if os.Getenv("NEBNET_BROWSER") == "" {
		t.Skip("runs with NEBNET_BROWSER=1, needs Chromium")
	}
	nodes := network(t)
	srv := httptest.NewServer(nodes[0].Inspector())
	t.Cleanup(srv.Close) // after the browser has gone: a live page is a request that does not end
	ctx, wrong := browser(t)
	for i := range 200 {
		if err := tx.Broadcast(t.Context(), nodes[i%5], fmt.Appendf(nil, "message %d", i)); err != nil {
			t.Fatal(err)
		}
	}

	run(t, ctx, "overview",
		chromedp.Navigate(srv.URL+"/"),
		until(`document.getElementById("peers").textContent === "4"`, 10*time.Second),
		until(`document.getElementById("state").textContent.startsWith("live")`, 10*time.Second),
		until(`document.querySelectorAll("polyline[points*=',']").length === 4`, 10*time.Second))
	picture(t, ctx, "overview", 1280, 900)
	picture(t, ctx, "overview-narrow", 400, 900)

	run(t, ctx, "peers", chromedp.Navigate(srv.URL+"/peers"),
		until(`document.querySelectorAll("tr[data-peer]").length === 4`, 10*time.Second))
	agents := get(t, ctx, "agents", shown("#peer-table"))
	title := get(t, ctx, "title", chromedp.Title())
	if !strings.Contains(agents, evil) || title == "owned" {
		t.Errorf("the hostile agent is not shown as text; title %q", title)
	}
	for _, order := range []string{"agent", "-agent"} {
		run(t, ctx, "sort by "+order,
			chromedp.Evaluate[chromedp.Void](`document.querySelector('a[data-sort="agent"]').click()`),
			until(`location.search === "?sort=`+order+`" && document.querySelectorAll("tr[data-peer]").length === 4`, 10*time.Second))
		first := get(t, ctx, "first agent", shown("tr[data-peer]:first-child td.agent"))
		if want := map[string]string{"agent": evil, "-agent": "node-4"}[order]; first != want {
			t.Errorf("sorted by %s, first is %q, want %q", order, first, want)
		}
	}
	picture(t, ctx, "peers", 1280, 600)
	run(t, ctx, "flow", chromedp.Navigate(srv.URL+"/flow"), until(`document.querySelectorAll("#type-tx svg circle").length === 5`, 10*time.Second))
	picture(t, ctx, "flow", 1280, 700)
	nodes[0].StartTracing()
	if err := tx.Broadcast(t.Context(), nodes[1], []byte("traced")); err != nil {
		t.Fatal(err)
	}
	for page, shows := range map[string]string{
		"requests": `document.body.innerText.includes("There are no methods.")`,
		"large":    `document.querySelector("#large tbody").innerText.includes("None.")`,
		"tunnels":  `document.body.innerText.includes("There are no tunnels.")`,
		"trace":    `document.querySelectorAll("#traces tbody tr td").length >= 7`,
	} {
		run(t, ctx, page, chromedp.Navigate(srv.URL+"/"+page),
			until(`document.getElementById("state").textContent.startsWith("live")`, 10*time.Second), until(shows, 10*time.Second))
	}

	run(t, ctx, "peers again", chromedp.Navigate(srv.URL+"/peers"),
		until(`document.getElementById("state").textContent.startsWith("live")`, 10*time.Second))
	gone := nodes[4].Node().ID().String()
	if err := nodes[4].Stop(); err != nil {
		t.Fatal(err)
	}
	run(t, ctx, "the peer that left", until(`!document.querySelector("tr[data-peer='`+gone+`']")`, 2*time.Second))
	run(t, ctx, "events", chromedp.Navigate(srv.URL+"/events?peer="+gone),
		until(`document.querySelector("tbody tr").textContent.includes("node is shutting down")`, 10*time.Second))
	picture(t, ctx, "events", 1280, 600)
	for _, w := range wrong() {
		t.Errorf("in the page: %s", w)
	}
}
