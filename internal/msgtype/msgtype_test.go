package msgtype

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"tx": true, "a.b-c_D9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a/b": false, "é": false, "a\x00": false, "a\n": false,
	} {
		err := CheckName(name)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: %v is no ErrName", name, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	s := Spec{Name: "tx"}.WithDefaults()
	want := Spec{
		Name: "tx", MaxSize: 1 << 20, Priority: PriorityNormal, CompressAbove: 1 << 10, QueueBytes: 4 << 20,
		Broadcast: Broadcast{MaxSize: 1 << 20, MaxPublish: 1 << 20, Deadline: 10 * time.Second, Concurrency: 64, ParkTime: time.Minute, PeerWait: 10 * time.Second},
	}
	if s != want {
		t.Errorf("%+v", s)
	}
	if again := s.WithDefaults(); again != s {
		t.Errorf("not stable: %+v", again)
	}
	if s := (Spec{Name: "b", MaxSize: 64 << 20}).WithDefaults(); s.QueueBytes < s.MaxSize {
		t.Errorf("a queue of %d for messages of %d", s.QueueBytes, s.MaxSize)
	}
	if s := (Spec{Name: "o", Broadcast: Broadcast{Open: true}}).WithDefaults(); s.Broadcast.PeerWait != OpenPeerWait {
		t.Errorf("open: %s", s.Broadcast.PeerWait)
	}
	if s := (Spec{Name: "o", Broadcast: Broadcast{PeerWait: -1}}).WithDefaults(); s.Broadcast.PeerWait != -1 {
		t.Errorf("no wait: %s", s.Broadcast.PeerWait)
	}
	if b := (Spec{Name: "b", MaxSize: 10}).WithDefaults().Broadcast; b.MaxSize != 10 || b.MaxPublish != 10 {
		t.Errorf("broadcasts of %d and %d bytes for messages of 10", b.MaxSize, b.MaxPublish)
	}
	none := Spec{Name: "n", NoBroadcast: true}.WithDefaults()
	if none.Broadcast != (Broadcast{}) {
		t.Errorf("%+v", none.Broadcast)
	}
	for _, s := range []Spec{s, none} {
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// Every mistake is reported, each with its field.
func TestValidateReportsAll(t *testing.T) {
	s := Spec{
		Name: "a/b", MaxSize: -1, Priority: 9, Compression: 9, CompressAbove: -1, QueueBytes: -1, NoBroadcast: true,
		Broadcast: Broadcast{
			Topic: strings.Repeat("t", 513), Open: true, Deadline: -1, Concurrency: -1, ParkTime: -1,
			Score: Score{Weight: math.NaN(), PerSecond: -1},
		},
	}
	for _, s := range []Spec{s, s.WithDefaults()} {
		err := s.Validate()
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			t.Fatalf("%v", err)
		}
		var fields []string
		for _, e := range joined.Unwrap() {
			f, ok := errors.AsType[*FieldError](e)
			if !ok || f.Type != "a/b" {
				t.Errorf("%v", e)
				continue
			}
			fields = append(fields, f.Field)
		}
		want := "Name MaxSize Priority Compression CompressAbove QueueBytes Broadcast Broadcast.Topic" +
			" Broadcast.Deadline Broadcast.Concurrency Broadcast.ParkTime Broadcast.Score.Weight Broadcast.Score.PerSecond"
		if got := strings.Join(fields, " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !errors.Is(err, ErrName) {
			t.Error("no ErrName")
		}
	}
}

func TestValidateBroadcastSizes(t *testing.T) {
	for field, b := range map[string]Broadcast{
		"":                     {MaxSize: 4, MaxPublish: 3},
		"Broadcast.MaxSize":    {MaxSize: 11},
		"Broadcast.MaxPublish": {MaxSize: 4, MaxPublish: 5},
	} {
		err := Spec{Name: "b", MaxSize: 10, Broadcast: b}.Validate()
		f, _ := errors.AsType[*FieldError](err)
		if (field == "") != (err == nil) || f != nil && f.Field != field {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

func TestWords(t *testing.T) {
	if got := []string{PriorityDefault.String(), PriorityHigh.String(), PriorityNormal.String(), PriorityLow.String(), Priority(9).String()}; strings.Join(got, " ") != "default high normal low priority 9" {
		t.Error(got)
	}
	if got := []string{CompressS2.String(), CompressZstd.String(), CompressNone.String(), Compression(9).String()}; strings.Join(got, " ") != "s2 zstd none compression 9" {
		t.Error(got)
	}
}
