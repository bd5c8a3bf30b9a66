package netservice_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/netservice"
)

// sealed is the record that the owner of a key makes of itself.
func sealed(t *testing.T, key crypto.PrivKey, rec *peer.PeerRecord) []byte {
	t.Helper()
	env, err := record.Seal(rec, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// record is an attacker's own.
func (a *attacker) record() []byte {
	a.s.t.Helper()
	return sealed(a.s.t, a.Peerstore().PrivKey(a.ID()),
		&peer.PeerRecord{PeerID: a.ID(), Seq: uint64(time.Now().UnixNano()), Addrs: a.Addrs()})
}

// welcomes makes an attacker a peer in good order of whoever says hello to it.
func (a *attacker) welcomes() {
	a.SetStreamHandler(handshake.ProtocolAny, func(st network.Stream) {
		if _, err := handshake.Answer(a.s.t.Context(), st, greeting(), nil); err == nil {
			st.Write(firstOffers())
			a.s.attend(st, true)
		}
	})
}

// ring lets a number of hostile peers of three neighbourhoods loose, which behave as
// peers do, come back when they are sent away, and tell of each other and of nobody
// else.
func (s *siege) ring(n int) (members map[peer.ID]bool) {
	s.t.Helper()
	members = make(map[peer.ID]bool)
	var all []*attacker
	var records [][]byte
	for i := range n {
		ip := netip.AddrFrom4([4]byte{66, 6, byte(i % 3), byte(1 + i)})
		a := &attacker{Host: s.net.Host(s.t, ip), s: s}
		all, records = append(all, a), append(records, a.record())
		members[a.ID()] = true
	}
	var next atomic.Int64
	for _, a := range all {
		a.welcomes()
		a.tells(func(count int) []byte {
			var body []byte
			for range min(count, n) {
				body = append(body, field(1, records[int(next.Add(1))%n])...)
			}
			return protowire.AppendBytes(nil, body)
		})
		go func() {
			for ctx := s.t.Context(); ctx.Err() == nil; {
				if a.Network().Connectedness(s.victim.Node().ID()) != network.Connected && a.connect() == nil {
					if st, err := a.hello(greeting()); err == nil {
						go s.attend(st, true)
					}
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Second):
				}
			}
		}()
	}
	return members
}

// Row 33: fifty hostile peers of three networks, which a node meets first and which
// name only each other. Of the peers that it chooses itself at least half are honest
// ten minutes later, and it has its number of them: with a boot node as without one,
// where a few honest peers that know it are the only way out.
func TestHostileEclipse(t *testing.T) {
	crowd(t)
	for name, booted := range map[string]bool{"without a boot node": false, "with a boot node": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSiege(t)
				var boot *netservice.NebService
				cfg := chain()
				if booted {
					boot = s.service(s.address(), chain())
					if err := boot.Start(); err != nil {
						t.Fatal(err)
					}
					cfg.Bootstrap = []string{boot.Node().Addrs()[0].String()}
				}
				s.begin(s.service(s.address(), cfg))
				hostile := s.ring(50)
				time.Sleep(2 * time.Minute)
				var first string // of the honest ones
				for i := range 24 {
					cfg := chain()
					switch {
					case boot != nil:
						cfg.Bootstrap = []string{boot.Node().Addrs()[0].String()}
					case i < 3:
						cfg.Bootstrap = []string{s.addr()}
					default:
						cfg.Bootstrap = []string{first}
					}
					svc := s.service(s.address(), cfg)
					if err := svc.Start(); err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						first = svc.Node().Addrs()[0].String()
					}
				}
				time.Sleep(10 * time.Minute)
				in, out, hostileIn, hostileOut := 0, 0, 0, 0
				for _, p := range s.victim.Peers() {
					bad := 0
					if hostile[p.ID] {
						bad = 1
					}
					if p.Direction == network.DirInbound {
						in, hostileIn = in+1, hostileIn+bad
					} else {
						out, hostileOut = out+1, hostileOut+bad
					}
				}
				t.Logf("%d of %d inbound and %d of %d outbound peers are hostile", hostileIn, in, hostileOut, out)
				if out < outboundTarget || 2*hostileOut > out {
					t.Errorf("of %d peers of its own choice %d are hostile", out, hostileOut)
				}
				if hostileIn == 0 || hostileOut == 0 {
					t.Error("nobody hostile got in: nothing is tried")
				}
			})
		})
	}
}
