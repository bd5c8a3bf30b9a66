package netservice_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// look asks the inspector of a service.
func look(t *testing.T, s *netservice.NebService, path string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	s.Inspector().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("%s: status %d: %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// asked is an answer under /api/ as a T.
func asked[T any](t *testing.T, s *netservice.NebService, path string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(look(t, s, path)), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func TestInspectorShowsPeersAndEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		const evil = `<script>alert("x")</script>`
		a := nw.Add(chain(), quiet())
		s := a.Service()
		s.Inspector() // notes events from now on
		cfg := booted(a)
		cfg.Agent = evil
		b := nw.Add(cfg, quiet())
		got := inbox(t, s, 1)
		nw.Start()
		if err := s.WaitForPeers(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := text.Broadcast(t.Context(), b.Service(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		next(t, "message", got)

		type peer struct {
			ID, Agent, Direction, Session string
			Since                         time.Time
		}
		peers := asked[[]peer](t, s, "/api/peers")
		if len(peers) != 1 || peers[0].ID != b.Service().Node().ID().String() || peers[0].Direction != "inbound" {
			t.Fatalf("peers: %+v", peers)
		}
		if theirs := b.Service().Peers(); len(theirs) != 1 || theirs[0].Session != peers[0].Session || len(peers[0].Session) != 16 {
			t.Errorf("session %q here, %+v there", peers[0].Session, theirs)
		}
		if page := look(t, s, "/peers"); strings.Contains(page, evil) || !strings.Contains(page, "&lt;script&gt;") {
			t.Error("the agent is not shown as text")
		}
		type flow struct {
			Name   string
			Gossip struct{ Delivered int }
			Sub    []struct{ Delivered int } `json:"subscribers"`
		}
		found := false
		for _, f := range asked[[]flow](t, s, "/api/flow") {
			if f.Name == "text" {
				found = f.Gossip.Delivered == 1 && len(f.Sub) == 1
			}
		}
		if !found {
			t.Errorf("flow of the type: %s", look(t, s, "/api/flow"))
		}
		why := asked[map[string]string](t, s, "/api/why?peer="+peers[0].ID)
		if !strings.Contains(why["why"], "is connected") {
			t.Errorf("why: %v", why)
		}

		ended := s.SubscribePeers(netservice.PeerDisconnected)
		defer ended.Close()
		if err := b.Service().Stop(); err != nil {
			t.Fatal(err)
		}
		event(t, ended, netservice.PeerDisconnected)
		time.Sleep(2 * time.Second)
		type happened struct{ Kind, Reason, Peer string }
		events := asked[[]happened](t, s, "/api/events?peer="+peers[0].ID)
		if len(events) != 2 || events[0].Kind != "disconnected" || events[0].Reason != netservice.ReasonShuttingDown.String() || events[1].Kind != "connected" {
			t.Errorf("events: %+v", events)
		}
		if n := len(asked[[]peer](t, s, "/api/peers")); n != 0 {
			t.Errorf("%d peers are left", n)
		}
		if page := look(t, s, "/"); !strings.Contains(page, "There are no peers.") {
			t.Error("no alarm about the lack of peers")
		}
	})
}

// What the node knows to be wrong with itself is among the alarms, and a peer that
// cannot be reached among the events.
func TestInspectorShowsProblems(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet(), netservice.WithPeerStore(fullDisk{}))
		s := b.Service()
		s.Inspector()
		nw.Start()
		if err := s.ConnectPeer(t.Context(), a.Addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // the book is saved now and then
		if page := look(t, s, "/"); !strings.Contains(page, "The address book could not be saved: the disk is full") {
			t.Error("no alarm about the address book")
		}
		gone := a.Service().Node().ID().String()
		if err := s.AddStaticPeer(a.Addr()); err != nil {
			t.Fatal(err)
		}
		a.Crash()
		time.Sleep(time.Minute)
		type happened struct{ Kind, Peer, Detail string }
		if events := asked[[]happened](t, s, "/api/events?kind=dial+failed&peer="+gone); len(events) == 0 || events[0].Detail == "" {
			t.Error("no event about the failed dial")
		}
		a.Restart()
	})
}

// fullDisk keeps no address book.
type fullDisk struct{}

func (fullDisk) Load() ([]byte, error) { return nil, nil }
func (fullDisk) Save([]byte) error     { return errors.New("the disk is full") }

// The handler can be mounted before Start, and serves after Stop.
func TestInspectorOutlivesTheService(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		s := nw.Add(chain(), quiet()).Service()
		for _, state := range []string{"not started", "running", "stopped"} {
			type answer struct {
				Node struct {
					State   string
					Started time.Time
				}
			}
			got := asked[answer](t, s, "/api/overview").Node
			if got.State != state || got.Started.IsZero() != (state == "not started") {
				t.Errorf("state %q since %s, want %q", got.State, got.Started, state)
			}
			for _, path := range []string{"/", "/peers", "/flow", "/requests", "/tunnels", "/events"} {
				look(t, s, path)
			}
			switch state {
			case "not started":
				nw.Start()
			case "running":
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
