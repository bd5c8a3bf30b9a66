package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/setting"
)

func TestPresetsAreValid(t *testing.T) {
	for name, p := range map[string]Params{"small": SmallNetwork(), "public": PublicNetwork(), "fast": LowLatency()} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParamsNameTheirMistakes(t *testing.T) {
	for field, edit := range map[string]func(*Params){
		"Dlo":               func(p *Params) { p.Dlo = 0 },
		"Dhi":               func(p *Params) { p.Dhi = p.D },
		"Dscore":            func(p *Params) { p.Dscore = p.D + 1 },
		"Dout":              func(p *Params) { p.Dout = p.D / 2 },
		"Dlazy":             func(p *Params) { p.Dlazy = -1 },
		"HistoryGossip":     func(p *Params) { p.HistoryGossip = p.HistoryLength + 1 },
		"DontWantAbove":     func(p *Params) { p.DontWantAbove = 0 },
		"Heartbeat":         func(p *Params) { p.Heartbeat = 0 },
		"PruneBackoff":      func(p *Params) { p.PruneBackoff = 0 },
		"MaxBackoff":        func(p *Params) { p.MaxBackoff = p.PruneBackoff - 1 },
		"InvalidDecay":      func(p *Params) { p.InvalidDecay = 0 },
		"GossipFactor":      func(p *Params) { p.GossipFactor = math.NaN() },
		"GossipThreshold":   func(p *Params) { p.GossipThreshold = 1 },
		"PublishThreshold":  func(p *Params) { p.PublishThreshold = 0 },
		"GraylistThreshold": func(p *Params) { p.GraylistThreshold = math.Inf(-1) },
		"InvalidWeight":     func(p *Params) { p.InvalidWeight = 1 },
		"ColocationFree":    func(p *Params) { p.ColocationWeight = -1 },
		"TopicCap":          func(p *Params) { p.TopicCap = 0 },
	} {
		p := SmallNetwork()
		edit(&p)
		var ce *setting.Error
		if err := p.Validate(); !errors.As(err, &ce) || !strings.Contains(err.Error(), "Params."+field+" ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConfigNamesItsMistakes(t *testing.T) {
	err := Config{Pending: -1, SeenTTL: 1, MaxLargeSize: 10}.Validate()
	for _, field := range []string{"Host", "Network", "Deliver", "Pending", "SeenTTL", "MaxLargeSize"} {
		if err == nil || !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// A type of which broadcasts may be larger than the engine's is not taken.
func TestSetNamesItsMistakes(t *testing.T) {
	e := &Engine{cfg: Config{Network: "n"}.withDefaults()}
	for want, spec := range map[string]msgtype.Spec{
		"Name":        {},
		"Concurrency": {Name: "t", Broadcast: msgtype.Broadcast{Concurrency: -1}},
		"1048576":     {Name: "t", MaxSize: 2 << 20, Broadcast: msgtype.Broadcast{MaxSize: 2 << 20}},
	} {
		if _, err := e.checked(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named: %v", want, err)
		}
	}
}

// A peer that brings nothing ends at the graylist, one that brings a quarter of
// what is expected does not lose.
func TestDeliveryScore(t *testing.T) {
	p := SmallNetwork()
	s := p.topicScore(msgtype.Score{PerSecond: 10})
	deficit := s.DeliveryThreshold
	if got := s.DeliveryWeight * deficit * deficit; math.Abs(got-p.GraylistThreshold) > 1e-9 {
		t.Errorf("nothing brought scores %v", got)
	}
	settled := 0.25 * 10 / (1 - s.DeliveryDecay)
	if settled < s.DeliveryThreshold-1e-9 {
		t.Errorf("a quarter settles at %v, below %v", settled, s.DeliveryThreshold)
	}
}

// The ID as the package's documentation has it, computed once by other means:
// (printf 'nebnet/gossip/1\x05topicdata') | sha256sum
func TestContentID(t *testing.T) {
	const want = "ce44bac12faa0ce21bb8bb3981da9bd6b485067b"
	got := fmt.Sprintf("%x", ContentID("topic", []byte("data"), "", nil))
	if got != want {
		t.Errorf("%s", got)
	}
	if ContentID("topicd", []byte("ata"), "", nil) == ContentID("topic", []byte("data"), "", nil) {
		t.Error("topic and data run into each other")
	}
	e := &Engine{}
	stamped := &rpc.Message{Data: putStamp(time.Now(), []byte("data"))}
	if fmt.Sprintf("%x", e.idOf(nil, &topic{Name: "topic", stamps: true}, stamped)) != got {
		t.Error("the time of publication changes the ID")
	}
}

func FuzzStamp(f *testing.F) {
	f.Add([]byte("short"))
	f.Add(putStamp(time.Unix(1, 2), []byte("data")))
	f.Add(append(putStamp(time.Unix(1, 2), []byte("data")), 'x'))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, data, ok := openStamp(b)
		if at2, again, _ := openStamp(putStamp(time.Unix(3, 4), b)); !bytes.Equal(again, b) || !at2.Equal(time.Unix(3, 4)) {
			t.Fatalf("stamped and opened: %x, %s", again, at2)
		}
		if ok {
			if !bytes.Equal(putStamp(at, data), b) {
				t.Fatal("data")
			}
			if d := delayMicros(at, time.Now()); d < 0 || d > time.Hour.Microseconds() {
				t.Fatalf("a delay of %d us", d)
			}
		}
	})
}

func BenchmarkContentID(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 1 << 20} {
		data := make([]byte, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				ContentID(reachTopic, data, "", nil)
			}
		})
	}
}
