package inspect

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const evil = `<script>alert("x")</script>`

// fake is a node that never changes but for its counters.
type fake struct {
	read atomic.Int64
	snap func(n int64) Snapshot
}

func (f *fake) Snapshot() Snapshot { return f.snap(f.read.Add(1)) }

func (f *fake) Why(id string) (string, bool) {
	if !strings.HasPrefix(id, "12D3") {
		return "", false
	}
	return "There is a session with " + id + ".", true
}

// oneTrace is the way of a message with hostile text in it.
func oneTrace() Trace {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Trace{Type: evil, Hash: "00112233445566778899", Size: 2048, Steps: []TraceStep{
		{At: at, What: "received", Peer: "12D3KooWPeerA", Detail: evil},
		{At: at.Add(1500 * time.Millisecond), What: "dispatched", Detail: "delivered"},
	}}
}

func (f *fake) Traces(n int) ([]Trace, bool) {
	if n == 0 {
		return nil, true
	}
	return []Trace{oneTrace()}, true
}

func (f *fake) Trace(msgType, hash string) (Trace, bool) {
	return oneTrace(), msgType == evil && hash == oneTrace().Hash
}

// full is a snapshot with something in every part, each text of a peer hostile.
func full(at time.Time) Snapshot {
	reasons := map[string]uint64{"slow": 3}
	return Snapshot{
		At:   at,
		Node: Node{ID: "12D3KooWSelf", Network: "0011223344556677", Chain: "test", Agent: "nebnet", State: "running", Started: at.Add(-time.Hour), Addrs: []string{"/ip4/127.0.0.1/tcp/1"}, MaxPeers: 50, MaxInbound: 38, Reachability: "public"},
		Peers: []Peer{
			{ID: "12D3KooWPeerA", Agent: evil, Addr: "/ip4/10.0.0.1/tcp/1", Direction: "inbound", Transport: "tcp", Since: at.Add(-time.Minute), RTT: 0.02, BytesIn: 100, Mesh: []string{"tx"}, Score: -1, ScoreParts: []Part{{"types", 5.25}, {"behaviour", -6.25}}, ValueParts: []Part{{"useful", 3.5}}, Dropped: reasons, Differs: []string{evil}, Protected: []string{"reserved"}, Capabilities: []string{evil}},
			{ID: "12D3KooWPeerB", Agent: "b", Direction: "outbound", Transport: "quic-v1", Since: at.Add(-time.Hour), RTT: 0.001},
		},
		Types: []Type{{
			Name: "tx", MaxSize: 1 << 20, Priority: "high",
			Sent: Sent{Queued: 5, Written: 4, Dropped: reasons}, Direct: Direct{Received: 7, Faults: 1},
			Gossip:      &Gossip{Joined: true, Mesh: 1, Delivered: 10, Duplicates: 20, Rejected: 1, TurnedAway: map[string]uint64{"full": 2}, Delay: &Delay{Count: 1, P50: 0.01}},
			Large:       &LargeType{Announced: 9, Fetched: 8, Stalled: 1, Lies: 4321, Mean: 1.5},
			Arrived:     Arrived{Received: 17, Delivered: 15, Dropped: map[string]uint64{"queue_full": 2}},
			Subscribers: []Subscriber{{Name: evil, Policy: "drop newest", Offered: 15, Delivered: 15, Full: true}},
		}},
		Methods:  []Method{{Name: "blocks", Calls: 3, Failed: 1, Handled: 1234, P95: 0.25, BytesIn: 2048, Latency: []Bucket{{0.01, 2}, {-1, 1}}, Errors: map[string]uint64{"busy": 1}}},
		Requests: Requests{Calls: 7, Served: 1, ServedBytes: 100},
		Large:    Large{Held: 1 << 20, Messages: []LargeMessage{{ID: "00aabbccddeeff", Type: evil, From: "12D3KooWPeerA", Phase: "fetching", Size: 8 << 20, Here: 2 << 20, Began: at.Add(-3 * time.Second), Holders: 2}}},
		Tunnels:  []Tunnel{{ID: 1, Kind: "serves", Protocol: "/x/" + evil, Target: "/ip4/127.0.0.1/tcp/80"}},
		Streams:  []Stream{{ID: 1, Peer: "12D3KooWPeerA", State: "open"}},
		Boot:     []Boot{{ID: "12D3KooWBoot"}},
		Totals:   Totals{MessagesIn: 24, BytesIn: 2400, Dropped: 2},
	}
}

func serve(t *testing.T, f *fake, happened func(add func(Event))) *httptest.Server {
	t.Helper()
	i, err := New(f, Config{Events: happened})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.StripPrefix("/node", i))
	t.Cleanup(func() {
		i.Close()
		srv.Close()
	})
	return srv
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func static() *fake {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &fake{snap: func(int64) Snapshot { return full(at) }}
}

// hostileEvent is an event with hostile text in every field, once.
func hostileEvent() func(add func(Event)) {
	told := false
	return func(add func(Event)) {
		if !told {
			add(Event{Kind: evil, Peer: "12D3KooWPeerA", Reason: evil, Detail: strings.Repeat(evil, 100)})
		}
		told = true
	}
}

func TestPagesEscapeRemoteText(t *testing.T) {
	srv := serve(t, static(), hostileEvent())
	for _, path := range []string{"", "peers", "peers?sort=rtt&why=" + url.QueryEscape(evil), "flow", "requests", "tunnels", "events", "large", "trace", "trace?type=x&hash=" + url.QueryEscape(evil), "trace?hash=00112233445566778899&type=" + url.QueryEscape(evil), "events?kind=" + url.QueryEscape(evil), "peer?id=12D3KooWPeerA", "peer?id=" + url.QueryEscape(evil)} {
		code, body := get(t, srv.URL+"/node/"+path)
		if code != http.StatusOK {
			t.Errorf("%s: status %d", path, code)
		}
		if strings.Contains(body, evil) {
			t.Errorf("%s: a peer's text is markup", path)
		}
		if !strings.Contains(body, "</html>") {
			t.Errorf("%s: page is cut short", path)
		}
	}
	if _, body := get(t, srv.URL+"/node/peers"); !strings.Contains(body, "&lt;script&gt;") {
		t.Error("the agent is not shown as text")
	}
}

func TestPagesShowTheNumbers(t *testing.T) {
	srv := serve(t, static(), nil)
	for path, wants := range map[string][]string{
		"":                      {`id="peers">2<`, "12D3KooWSelf", "No session with 1 of 1 boot nodes", "Subscriber", "public"},
		"peer?id=12D3KooWPeerA": {">types</abbr>: 5.25", ">behaviour</abbr>: -6.25", ">useful</abbr>: 3.50"},
		"peers":                 {"20.0 ms", "quic-v1", "60 s", "reserved"},
		"flow":                  {"turned away: full", "queue_full", "at most 1.0 MiB", "drop newest", "(full)"},
		"requests":              {"blocks", "1,234", "250.0 ms", "2.0 KiB", "7 calls of this node", "busy</abbr>: 1", "at most 10 ms: 2"},
		"large":                 {"fetching", "8.0 MiB", "4,321", "1.0 MiB", "3 s"},
		"tunnels":               {"/ip4/127.0.0.1/tcp/80"},
		"trace":                 {"00112233445566778899", "2.0 KiB", "dispatched: delivered", "03:04:05.000"},
		"trace?type=%3Cscript%3Ealert%28%22x%22%29%3C%2Fscript%3E&hash=00112233445566778899": {"03:04:06.500", "dispatched", "delivered"},
		"trace?type=tx&hash=00": {"not among those that were kept"},
	} {
		_, body := get(t, srv.URL+"/node/"+path)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("page %q does not show %q", path, want)
			}
		}
	}
}

func TestPeersAreSorted(t *testing.T) {
	srv := serve(t, static(), nil)
	for by, first := range map[string]string{"": "PeerB", "rtt": "PeerB", "-rtt": "PeerA", "-id": "PeerB", "id": "PeerA", "nonsense": "PeerB"} {
		_, body := get(t, srv.URL+"/node/peers?sort="+by)
		_, rows, _ := strings.Cut(body, "<tbody>")
		a, b := strings.Index(rows, "PeerA"), strings.Index(rows, "PeerB")
		if (a < b) != (first == "PeerA") {
			t.Errorf("sorted by %q, %s is not first", by, first)
		}
	}
}

func TestNothingChangesState(t *testing.T) {
	srv := serve(t, static(), nil)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		for _, path := range []string{"", "peers", "api/peers", "live"} {
			req, err := http.NewRequest(method, srv.URL+"/node/"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s /%s: status %d", method, path, resp.StatusCode)
			}
		}
	}
}

func TestAPI(t *testing.T) {
	srv := serve(t, static(), hostileEvent())
	for _, p := range parts {
		path := srv.URL + "/node/api/" + p.name
		if p.name == "why" {
			path += "?peer=12D3KooWPeerA"
		}
		code, body := get(t, path)
		if code != http.StatusOK || !json.Valid([]byte(body)) {
			t.Errorf("%s: status %d, body %.80q", p.name, code, body)
		}
	}
	var one struct {
		ID  string  `json:"id"`
		Age float64 `json:"age_seconds"`
	}
	_, body := get(t, srv.URL+"/node/api/peers?id=12D3KooWPeerA")
	if err := json.Unmarshal([]byte(body), &one); err != nil || one.ID != "12D3KooWPeerA" || one.Age != 60 {
		t.Errorf("one peer: %+v, %v", one, err)
	}
	for path, want := range map[string]int{"peers?id=nobody": 404, "trace?type=tx&hash=00": 404, "why?peer=nobody": 400, "nonsense": 404} {
		if code, _ := get(t, srv.URL+"/node/api/"+path); code != want {
			t.Errorf("%s: status %d, want %d", path, code, want)
		}
	}
}

// viewer is a browser that looks at a live page: each event arrives whole on a
// channel. While nobody reads there, writing waits until its deadline.
type viewer struct {
	header   http.Header
	events   chan string
	deadline time.Time
}

func newViewer() *viewer { return &viewer{header: http.Header{}, events: make(chan string)} }

func (v *viewer) Header() http.Header                { return v.header }
func (v *viewer) WriteHeader(int)                    {}
func (v *viewer) Flush()                             {}
func (v *viewer) SetWriteDeadline(t time.Time) error { v.deadline = t; return nil }

func (v *viewer) Write(p []byte) (int, error) {
	select {
	case v.events <- strings.ReplaceAll(string(p), "data: ", ""):
		return len(p), nil
	case <-time.After(time.Until(v.deadline)):
		return 0, os.ErrDeadlineExceeded
	}
}

// watch opens a live page, and gives a function that waits for its end.
func watch(ctx context.Context, i *Inspector, query string) (v *viewer, ended func()) {
	v = newViewer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.ServeHTTP(v, httptest.NewRequestWithContext(ctx, http.MethodGet, "/live?"+query, nil))
	}()
	return v, func() { <-done }
}

func inspector(t *testing.T, f *fake) *Inspector {
	t.Helper()
	i, err := New(f, Config{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// growing has a peer that sends 100 bytes a second, and loses the other one at
// its third sample.
func growing(started time.Time) *fake {
	return &fake{snap: func(n int64) Snapshot {
		s := full(time.Now())
		s.Peers[0].Since = started
		s.Peers[0].BytesIn = uint64(100 * n)
		if n > 2 {
			s.Peers = s.Peers[:1]
		}
		return s
	}}
}

func TestLivePageFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := inspector(t, growing(time.Now()))
		ctx, cancel := context.WithCancel(t.Context())
		v, ended := watch(ctx, i, "page=peers&sort=rtt")
		first := <-v.events
		if !strings.Contains(first, "PeerB") {
			t.Error("the first event lacks a peer")
		}
		begun := time.Now()
		rate, gone := false, false
		for n := 0; n < 10 && !(rate && gone); n++ {
			e := <-v.events
			if strings.Contains(e, evil) {
				t.Error("a peer's text is markup")
			}
			rate = rate || strings.Contains(e, "100 B/s")
			gone = !strings.Contains(e, "PeerB")
		}
		if took := time.Since(begun); !rate || !gone || took > 3*time.Second {
			t.Errorf("rate shown %v, peer gone %v, after %v", rate, gone, took)
		}
		cancel()
		ended()
		i.Close()
	})
}

func TestViewerThatDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := inspector(t, static())
		_, ended := watch(t.Context(), i, "page=overview")
		begun := time.Now()
		ended()
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("dropped after %v, want the write timeout of 10s", took)
		}
		i.Close()
	})
}

func TestNobodyLookingCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := static()
		i := inspector(t, f)
		time.Sleep(time.Hour)
		if n := f.read.Load(); n != 0 {
			t.Errorf("the node was read %d times before anybody looked", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		v, ended := watch(ctx, i, "page=overview")
		<-v.events
		cancel()
		ended()
		time.Sleep(keepFor + 2*sampleEvery)
		synctest.Wait()
		was := f.read.Load()
		time.Sleep(time.Hour)
		if n := f.read.Load(); n != was {
			t.Errorf("the node was read %d times after everybody had left", n-was)
		}
		i.Close()
	})
}

func TestCloseEndsLivePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := inspector(t, static())
		v, ended := watch(t.Context(), i, "page=overview")
		<-v.events
		i.Close()
		ended()
		for path, want := range map[string]int{"/live?page=overview": http.StatusServiceUnavailable, "/": http.StatusOK, "/api/peers": http.StatusOK} {
			rec := httptest.NewRecorder()
			i.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			if rec.Code != want {
				t.Errorf("%s after Close: status %d, want %d", path, rec.Code, want)
			}
		}
	})
}
