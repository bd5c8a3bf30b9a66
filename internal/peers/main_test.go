package peers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	self  peer.ID = "M-self"
	alice peer.ID = "A-alice" // smaller than self
	zoe   peer.ID = "Z-zoe"   // larger than self
)

const (
	none   = handshake.ReasonNone
	dirIn  = network.DirInbound
	dirOut = network.DirOutbound
)

func info(p peer.ID, addrs ...string) peer.AddrInfo {
	ai := peer.AddrInfo{ID: p}
	for _, a := range addrs {
		ai.Addrs = append(ai.Addrs, ma.StringCast(a))
	}
	return ai
}

// at is an address of a peer's own, in a private network.
func at(p peer.ID) peer.AddrInfo {
	h := fnv.New32()
	h.Write([]byte(p))
	n := h.Sum32()
	return info(p, fmt.Sprintf("/ip4/10.%d.%d.%d/tcp/1", n>>16&255, n>>8&255, n&255))
}

// learn tells the manager of peers on others' word.
func (fx *fixture) learn(ais ...peer.AddrInfo) (v book.Outcome) {
	for _, ai := range ais {
		v = fx.Learn(book.Told{Peer: ai, Source: book.FromExchange, Teller: "T-teller"})
	}
	return v
}

func peerN(n int) peer.ID { return peer.ID(fmt.Sprintf("P-%05d", n)) }

// attempt is one call of Connect.
type attempt struct {
	ai peer.AddrInfo
	at time.Duration // since the test began
}

// fixture is a manager whose Connect is the test's.
type fixture struct {
	*Manager
	t     *testing.T
	start time.Time

	seen       sync.Mutex // guards what follows
	attempts   []attempt
	admissions map[peer.ID]*Admission // of sessions that succeed made
	closed     map[peer.ID]handshake.Reason
}

// play runs f with a started manager in virtual time. connect nil fails every
// attempt as unreachable.
func play(t *testing.T, cfg Config, connect func(fx *fixture, ctx context.Context, ai peer.AddrInfo) error, f func(t *testing.T, fx *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fx := &fixture{t: t, start: time.Now(), admissions: map[peer.ID]*Admission{}, closed: map[peer.ID]handshake.Reason{}}
		cfg.Self = self
		cfg.Connect = func(ctx context.Context, ai peer.AddrInfo) error {
			fx.seen.Lock()
			fx.attempts = append(fx.attempts, attempt{ai, time.Since(fx.start)})
			fx.seen.Unlock()
			if connect == nil {
				return errors.New("no route")
			}
			return connect(fx, ctx, ai)
		}
		m, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		fx.Manager = m
		m.Start()
		defer m.Close()
		f(t, fx)
	})
}

// name gives a peer a role, and waits for the end of the first dial.
func (fx *fixture) name(ai peer.AddrInfo, role Role) {
	fx.t.Helper()
	if r := fx.Name(ai, role); r != none {
		fx.t.Errorf("%s cannot be named: %v", ai.ID, r)
	}
	synctest.Wait()
}

// succeed is a Connect that makes a session.
func succeed(fx *fixture, _ context.Context, ai peer.AddrInfo) error {
	t, r := fx.Admit(ai.ID, dirOut, 0, nil)
	if r != none {
		return r
	}
	if r := t.Confirm(1); r != none {
		t.Abort(r)
		return r
	}
	return fx.commit(t).Err()
}

func (fx *fixture) commit(t *Admission) handshake.Reason {
	r := t.Commit(func(r handshake.Reason) {
		fx.seen.Lock()
		fx.closed[t.p] = r
		fx.seen.Unlock()
	}, func() {})
	fx.seen.Lock()
	fx.admissions[t.p] = t
	fx.seen.Unlock()
	return r
}

// accept makes a session with a peer that opened the hello.
func (fx *fixture) accept(p peer.ID, instance uint64) *Admission {
	fx.t.Helper()
	t, r := fx.Admit(p, dirIn, instance, nil)
	if r == none {
		r = fx.commit(t)
	}
	if r != none {
		fx.t.Fatalf("%s is refused: %v", p, r)
	}
	return t
}

func (fx *fixture) admission(p peer.ID) *Admission {
	fx.seen.Lock()
	defer fx.seen.Unlock()
	return fx.admissions[p]
}

func (fx *fixture) closedFor(p peer.ID) handshake.Reason {
	fx.seen.Lock()
	defer fx.seen.Unlock()
	return fx.closed[p]
}

func (fx *fixture) dials(p peer.ID) []attempt {
	synctest.Wait()
	fx.seen.Lock()
	defer fx.seen.Unlock()
	var out []attempt
	for _, a := range fx.attempts {
		if a.ai.ID == p {
			out = append(out, a)
		}
	}
	return out
}

// stateSize is the number of entries in all of the manager's maps.
func (m *Manager) stateSize() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts.mu.Lock()
	defer m.attempts.mu.Unlock()
	return len(m.entries) + len(m.targets) + len(m.trying) + m.book.Len() + len(m.book.Bans(time.Now())) + len(m.avoided.m) +
		len(m.offences.m) + len(m.aims.addrs.m) + len(m.aims.subnets.m) + len(m.scores.m) + len(m.hellos.m) + len(m.excess.last.m) +
		len(m.attempts.addrs.m) + len(m.attempts.subnets.m)
}
