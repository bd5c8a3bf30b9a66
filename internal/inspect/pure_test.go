package inspect

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAlarms(t *testing.T) {
	healthy := func() Snapshot {
		return Snapshot{Node: Node{State: "running"}, Peers: []Peer{{ID: "a"}}}
	}
	for _, c := range []struct {
		name   string
		change func(*Snapshot)
		lately *Sample
		want   []string // level and a part of the text
	}{
		{"healthy", func(*Snapshot) {}, nil, nil},
		{"no peers", func(s *Snapshot) { s.Peers = nil }, nil, []string{"bad no peers"}},
		{"stopped", func(s *Snapshot) { s.Node.State = "stopped" }, nil, []string{"bad is stopped"}},
		{"one boot node down", func(s *Snapshot) { s.Boot = []Boot{{ID: "a"}, {ID: "b", Connected: true}} }, nil, []string{"warn 1 of 2 boot"}},
		{"all boot nodes down", func(s *Snapshot) { s.Boot = []Boot{{ID: "a"}} }, nil, []string{"bad 1 of 1 boot"}},
		{"old drops", func(s *Snapshot) { s.Totals.Dropped = 5 }, &Sample{Totals: Totals{Dropped: 5}}, nil},
		{"drops", func(s *Snapshot) { s.Totals.Dropped = 7 }, &Sample{Totals: Totals{Dropped: 5}}, []string{"warn 2 messages were dropped"}},
		{"panics", func(s *Snapshot) { s.Totals.Panics = 1 }, &Sample{}, []string{"bad panicked 1 times"}},
		{"a sum that fell", func(s *Snapshot) { s.Totals.Dropped = 1 }, &Sample{Totals: Totals{Dropped: 5}}, nil},
		{"full subscriber", func(s *Snapshot) {
			s.Types = []Type{{Name: "tx", Subscribers: []Subscriber{{Name: "pool", Full: true}}}}
		}, nil, []string{"warn pool of tx is full"}},
		{"clock", func(s *Snapshot) {
			s.Types = []Type{{Name: "tx", Gossip: &Gossip{Delay: &Delay{Count: 1, P50: -1}}}}
		}, nil, []string{"warn clock is off"}},
		{"clock far off", func(s *Snapshot) {
			s.Types = []Type{{Name: "tx", Gossip: &Gossip{Delay: &Delay{Count: 1, P50: 3600}}}}
		}, nil, []string{"warn more than 60 min after"}},
		{"rubbish", func(s *Snapshot) { s.Peers = []Peer{{ID: "a", Faults: 2}, {ID: "b", Score: -1}, {ID: "c", Score: -11}} }, nil,
			[]string{"warn Peer a breaks the rules: 2 faults", "warn Peer c breaks the rules"}},
		{"differs, said once", func(s *Snapshot) {
			s.Peers = []Peer{{ID: "a", Differs: []string{"tx: 1 MiB"}}, {ID: "b", Differs: []string{"tx: 1 MiB"}}}
		}, nil, []string{"warn tx: 1 MiB"}},
		{"the node's own", func(s *Snapshot) { s.Problems = []string{"disk full"} }, nil, []string{"warn disk full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := healthy()
			c.change(&s)
			got := alarms(&s, c.lately, nil)
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i, want := range c.want {
				level, text, _ := strings.Cut(want, " ")
				if got[i].Level != level || !strings.Contains(got[i].Text, text) || pageNamed(got[i].Page) == nil {
					t.Errorf("got %+v, want %q", got[i], want)
				}
			}
		})
	}
}

// What was lost in the last minute is named by type and way, the most first.
func TestLossesAreNamed(t *testing.T) {
	at := time.Unix(1000, 0)
	snap := func(secs int, rejected, full uint64) *Snapshot {
		return &Snapshot{At: at.Add(time.Duration(secs) * time.Second), Node: Node{State: "running"}, Peers: []Peer{{}}, Types: []Type{{
			Name: "tx", Gossip: &Gossip{Rejected: rejected, Duplicates: 1000 * rejected},
			Subscribers: []Subscriber{{Name: "pool", Dropped: map[string]uint64{"subscriber_full": full}}},
		}}}
	}
	var l losses
	for secs := range 200 {
		l.add(snap(secs, uint64(secs), 2*uint64(min(secs, 150))))
	}
	now := snap(200, 200, 300)
	var texts []string
	for _, a := range alarms(now, nil, l.since(now)) {
		texts = append(texts, a.Text)
	}
	// The oldest mark is 60 s to 70 s old.
	want := []string{"tx, broadcasts: rejected: 70 in the last minute.", "tx, pool: dropped: subscriber_full: 40 in the last minute."}
	if d := cmp.Diff(want, texts); d != "" {
		t.Error(d)
	}
	var fresh losses
	if got := fresh.since(now); got != nil {
		t.Errorf("without marks: %v", got)
	}
}

// The first snapshot tells of panics that were before, each further one of new ones.
func TestPanicsAreEvents(t *testing.T) {
	var n uint64 = 2
	var events []string
	s := newSampler(&fake{snap: func(int64) Snapshot {
		return Snapshot{Types: []Type{{Name: "tx", Gossip: &Gossip{Panics: n}, Subscribers: []Subscriber{{Name: "pool", Panics: 1}}}}}
	}}, func(e Event) { events = append(events, e.Kind+" "+e.Detail) })
	s.view()
	slices.Sort(events)
	n++
	s.sample()
	s.view()
	want := []string{"panic subscriber pool of tx, 1 times", "panic validator of tx, 2 times", "panic validator of tx, 1 times"}
	if d := cmp.Diff(want, events); d != "" {
		t.Error(d)
	}
}

func TestTypeAndCallRates(t *testing.T) {
	at := time.Unix(1000, 0)
	from := &Snapshot{At: at, Types: []Type{{Name: "tx", Direct: Direct{Received: 1}}}, Methods: []Method{{Name: "get", Calls: 1, Handled: 4}}}
	to := &Snapshot{At: at.Add(2 * time.Second), Methods: []Method{{Name: "get", Calls: 3, Handled: 8}}, Types: []Type{{
		Name: "tx", Direct: Direct{Received: 5}, Sent: Sent{Written: 6, Dropped: map[string]uint64{"slow": 2}}, Gossip: &Gossip{Delivered: 10, Duplicates: 4, Published: 2},
	}}}
	if d := cmp.Diff(map[string]TypeRate{"tx": {In: 9, Out: 4, Lost: 1}}, typeRates(from, to)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]CallRate{"get": {1, 2}}, callRates(from, to)); d != "" {
		t.Error(d)
	}
	if typeRates(to, from) != nil || callRates(to, from) != nil {
		t.Error("backwards there are rates")
	}
}

func TestHistogramIsDrawn(t *testing.T) {
	got := string(drawHistogram([]Bucket{{0.001, 0}, {0.01, 4}, {1, 0}, {-1, 2}}))
	for _, want := range []string{"at most 10 ms: 4", "at most 1 s: 0", "longer: 2"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "at most 1 ms") || drawHistogram([]Bucket{{1, 0}}) != "–" || drawHistogram(nil) != "–" {
		t.Error("empty buckets are drawn")
	}
}

func TestRates(t *testing.T) {
	at := time.Unix(1000, 0)
	a := Sample{At: at, Totals: Totals{MessagesIn: 10, BytesIn: 100, BytesOut: 50, Dropped: 3}}
	b := Sample{At: at.Add(2 * time.Second), Totals: Totals{MessagesIn: 30, BytesIn: 50, BytesOut: 250, Dropped: 4}}
	if d := cmp.Diff(Rate{MessagesIn: 10, BytesOut: 100, Dropped: 0.5}, rate(a, b)); d != "" {
		t.Error(d)
	}
	if got := rate(b, a); got != (Rate{}) {
		t.Errorf("backwards: %v", got)
	}
}

func TestPeerRates(t *testing.T) {
	at := time.Unix(1000, 0)
	from := &Snapshot{At: at, Peers: []Peer{{ID: "same", Since: at, BytesIn: 1}, {ID: "again", Since: at, BytesIn: 1}, {ID: "gone", Since: at}}}
	to := &Snapshot{At: at.Add(time.Second), Peers: []Peer{{ID: "same", Since: at, BytesIn: 11, BytesOut: 2}, {ID: "again", Since: at.Add(1), BytesIn: 5}, {ID: "new", Since: at}}}
	want := map[string]PeerRate{"same": {In: 10, Out: 2}}
	if d := cmp.Diff(want, peerRates(from, to)); d != "" {
		t.Error(d)
	}
}

func TestHistoryKeepsTenMinutes(t *testing.T) {
	var r ring
	at := time.Unix(0, 0)
	for i := range 2000 {
		r.add(Sample{At: at.Add(time.Duration(i) * time.Second), Peers: i})
	}
	if n := len(r.samples); n != 601 {
		t.Errorf("%d samples, want those of 600 s", n)
	}
	if s, ok := r.minuteAgo(); !ok || s.Peers != 1939 {
		t.Errorf("a minute ago: %v %v", s.Peers, ok)
	}
}

func TestEventsAreBounded(t *testing.T) {
	var log eventLog
	for i := range 2500 {
		log.addLocked(Event{Kind: fmt.Sprint(i % 2), Peer: "p", Detail: strings.Repeat("x", 10_000)})
	}
	all := log.listLocked(filter{})
	if len(all) != maxEvents || all[0].Seq != 2500 || all[len(all)-1].Seq != 1501 {
		t.Fatalf("%d events, %d to %d", len(all), all[len(all)-1].Seq, all[0].Seq)
	}
	if n := len(all[0].Detail); n > maxText+len("…") {
		t.Errorf("a text of %d bytes is kept", n)
	}
	if got := log.listLocked(filter{Kind: "0", After: 2490}); len(got) != 5 {
		t.Errorf("%d events of one kind after 2490, want 5", len(got))
	}
	if got := log.listLocked(filter{Peer: "other"}); len(got) != 0 {
		t.Errorf("%d events of another peer", len(got))
	}
}

func TestEventsFromManyGoroutines(t *testing.T) {
	i, err := New(static(), Config{Events: func(add func(Event)) { add(Event{Kind: "x"}) }})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				i.events(filter{After: 100})
			}
		})
	}
	wg.Wait()
	all := i.events(filter{})
	if !slices.IsSortedFunc(all, func(a, b Event) int { return int(b.Seq) - int(a.Seq) }) || all[0].Seq != 4001 {
		t.Error("events are not numbered in order")
	}
}

// TestFlowAccounts holds that nothing vanishes between what came to a stage and
// what left it on the way.
func TestFlowAccounts(t *testing.T) {
	s := full(time.Unix(0, 0)).Types[0]
	stages := inward(s)
	names := make([]string, len(stages))
	for i, st := range stages {
		names[i] = st.Name
	}
	if d := cmp.Diff([]string{"from peers", "large broadcasts", "broadcasts", "dispatcher", evil}, names); d != "" {
		t.Error(d)
	}
	if b := stages[2]; b.In != 33 {
		t.Errorf("%d broadcasts came, want 33", b.In)
	}
	var bad uint64
	for _, st := range append(stages, outward(s)...) {
		for _, l := range st.Lost {
			if l.Bad {
				bad += l.Count
			}
		}
	}
	if bad != 1+1+1+2+2+3 {
		t.Errorf("%d losses are marked, want 10", bad)
	}
}

func TestDrawing(t *testing.T) {
	at := time.Unix(0, 0)
	samples := []Sample{{At: at}, {At: at.Add(time.Second), Totals: Totals{MessagesIn: 10}}, {At: at.Add(2 * time.Second), Totals: Totals{MessagesIn: 15}}}
	c := draw(samples, func(r Rate) float64 { return r.MessagesIn })
	if c.Max != 10 || c.Last != 5 || !strings.HasSuffix(strings.TrimSpace(c.Line), "300.0,31.0") {
		t.Errorf("%+v", c)
	}
	if c := draw(samples[:1], nil); c.Any {
		t.Error("one sample makes a line")
	}
	spots := mesh(view{Snapshot: full(at)}, "tx")
	if len(spots) != 2 || !spots[0].In || spots[1].In {
		t.Errorf("%+v", spots)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		bytesText(0): "0 B", bytesText(1023): "1023 B", bytesText(1536): "1.5 KiB", bytesText(1 << 62): "4.0 EiB",
		countText(0): "0", countText(999): "999", countText(1000): "1,000", countText(1234567): "1,234,567",
		secondsText(0.05): "50 ms", secondsText(90): "90 s", secondsText(600): "10 min", secondsText(10000): "3 h", secondsText(1e6): "12 days",
		short("12345678"): "12345678", short("123456789"): "…23456789",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
