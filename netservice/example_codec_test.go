package netservice_test

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-nebnet/nebnet/netservice"
)

func ExampleJSON() {
	data, _ := netservice.JSON[Block]().Encode(Block{Height: 1})
	fmt.Println(string(data))
	// Output: {"Height":1}
}

func ExampleProto() {
	codec := netservice.Proto[*wrapperspb.StringValue]()
	data, _ := codec.Encode(wrapperspb.String("hello"))
	v, err := codec.Decode(data)
	fmt.Println(v.GetValue(), err)
	// Output: hello <nil>
}

// Height encodes itself, as encoding.BinaryMarshaler has it.
type Height uint64

func (h Height) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, uint64(h)), nil
}

func (h *Height) UnmarshalBinary(data []byte) error {
	if len(data) != 8 {
		return errors.New("not a height")
	}
	*h = Height(binary.BigEndian.Uint64(data))
	return nil
}

func ExampleBinary() {
	codec := netservice.Binary[Height]()
	height := Height(7)
	data, _ := codec.Encode(&height)
	v, err := codec.Decode(data)
	fmt.Println(len(data), *v, err)
	_, err = codec.Decode([]byte("short"))
	fmt.Println(err)
	// Output:
	// 8 7 <nil>
	// not a height
}

// Header has the methods that gogo/protobuf generates.
type Header struct{ Height uint64 }

func (h *Header) Marshal() ([]byte, error) { return binary.AppendUvarint(nil, h.Height), nil }

func (h *Header) Unmarshal(data []byte) error {
	var n int
	if h.Height, n = binary.Uvarint(data); n <= 0 {
		return errors.New("not a header")
	}
	return nil
}

func ExampleMarshaled() {
	newHeader := netservice.Declare("newheader", netservice.Marshaled[Header]())
	data, _ := netservice.Marshaled[Header]().Encode(&Header{Height: 7})
	fmt.Println(newHeader.Name(), data)
	// Output: newheader [7]
}

func ExampleRaw() {
	data, _ := netservice.Raw().Encode([]byte("as it is"))
	fmt.Println(string(data))
	// Output: as it is
}
