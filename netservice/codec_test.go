package netservice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// header is a type with a binary form of its own.
type header struct{ height uint64 }

func (h *header) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, h.height), nil
}

func (h *header) UnmarshalBinary(b []byte) error {
	if len(b) != 8 {
		return errors.New("a header has 8 bytes")
	}
	h.height = binary.BigEndian.Uint64(b)
	return nil
}

// generated is a type with the methods of gogo/protobuf.
type generated struct{ header }

func (g *generated) Marshal() ([]byte, error) { return g.MarshalBinary() }
func (g *generated) Unmarshal(b []byte) error { return g.UnmarshalBinary(b) }

func roundTrip[T any](t *testing.T, name string, c Codec[T], v T, garbage string, show func(T) string) {
	t.Helper()
	b, err := c.Encode(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, err := c.Decode(b)
	if err != nil || show(got) != show(v) {
		t.Errorf("%s: %q became %q, %v", name, show(v), show(got), err)
	}
	if garbage == "" {
		return
	}
	if _, err := c.Decode([]byte(garbage)); err == nil {
		t.Errorf("%s: garbage was decoded", name)
	}
}

func TestCodecs(t *testing.T) {
	roundTrip(t, "json", JSON[map[string]int](), map[string]int{"a": 1}, "{", func(v map[string]int) string { return fmt.Sprint(v) })
	roundTrip(t, "proto", Proto[*wrapperspb.StringValue](), wrapperspb.String("x"), "\xff", func(v *wrapperspb.StringValue) string { return v.GetValue() })
	roundTrip(t, "binary", Binary[header](), &header{7}, "short", func(v *header) string { return fmt.Sprint(v.height) })
	roundTrip(t, "marshaled", Marshaled[generated](), &generated{header{9}}, "short", func(v *generated) string { return fmt.Sprint(v.height) })
	roundTrip(t, "raw", Raw(), []byte("x"), "", func(v []byte) string { return string(v) })
}

func FuzzCodecs(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte{0x0a, 0x01, 'x'})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := Proto[*wrapperspb.StringValue]().Decode(b); err == nil {
			if _, err := Proto[*wrapperspb.StringValue]().Encode(v); err != nil {
				t.Error(err)
			}
		}
		if v, err := Binary[header]().Decode(b); err == nil {
			if again, _ := Binary[header]().Encode(v); string(again) != string(b) {
				t.Errorf("%x became %x", b, again)
			}
		}
		type note struct {
			Height uint64            `json:"height"`
			Text   string            `json:"text"`
			Tags   map[string]string `json:"tags"`
		}
		if v, err := JSON[note]().Decode(b); err == nil {
			data, err := JSON[note]().Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			again, err := JSON[note]().Decode(data)
			if err != nil || !reflect.DeepEqual(again, v) {
				t.Errorf("%+v became %+v, %v", v, again, err)
			}
		}
		if v, err := Raw().Decode(b); err != nil || !bytes.Equal(v, b) {
			t.Errorf("raw: %x became %x, %v", b, v, err)
		}
	})
}
