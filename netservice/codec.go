package netservice

import (
	"encoding"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Codec turns values of T into message payloads and back. Decode gets a slice
// that it may keep and must not change: all subscribers of the message share it.
// Both must be safe for concurrent use.
type Codec[T any] interface {
	Encode(v T) ([]byte, error)
	Decode(data []byte) (T, error)
}

// freshCodec is a codec of this package whose Encode gives bytes that nobody else
// has: they need not be copied before they are queued.
type freshCodec interface{ fresh() }

func (jsonCodec[T]) fresh()  {}
func (protoCodec[T]) fresh() {}

// JSON is the codec of encoding/json.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Encode(v T) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec[T]) Decode(data []byte) (v T, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// Proto is the codec of protobuf messages in binary form. T is the pointer
// type, such as *pb.Block.
func Proto[T proto.Message]() Codec[T] { return protoCodec[T]{} }

type protoCodec[T proto.Message] struct{}

func (protoCodec[T]) Encode(v T) ([]byte, error) { return proto.Marshal(v) }

func (protoCodec[T]) Decode(data []byte) (T, error) {
	var zero T
	v, ok := zero.ProtoReflect().New().Interface().(T)
	if !ok {
		return zero, fmt.Errorf("protobuf: cannot make a %T", zero)
	}
	return v, proto.Unmarshal(data, v)
}

// binaryValue is a pointer to T with the methods of encoding.BinaryMarshaler
// and encoding.BinaryUnmarshaler.
type binaryValue[T any] interface {
	*T
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// Binary is the codec of types that implement encoding.BinaryMarshaler and
// encoding.BinaryUnmarshaler on their pointer. Messages carry the pointer:
//
//	netservice.Binary[Header]() // a Codec[*Header]
func Binary[T any, P binaryValue[T]]() Codec[P] { return binaryCodec[T, P]{} }

type binaryCodec[T any, P binaryValue[T]] struct{}

func (binaryCodec[T, P]) Encode(v P) ([]byte, error) { return v.MarshalBinary() }

func (binaryCodec[T, P]) Decode(data []byte) (P, error) {
	v := P(new(T))
	return v, v.UnmarshalBinary(data)
}

// marshalled is a pointer to T with the methods that gogo/protobuf and many other
// generators give their messages.
type marshalled[T any] interface {
	*T
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// Marshaled is the codec of types with Marshal() ([]byte, error) and
// Unmarshal([]byte) error on their pointer, as gogo/protobuf generates them.
// Messages carry the pointer. Unmarshal must not keep the slice if it changes it.
//
//	netservice.Marshaled[pb.Block]() // a Codec[*pb.Block]
func Marshaled[T any, P marshalled[T]]() Codec[P] { return marshaledCodec[T, P]{} }

type marshaledCodec[T any, P marshalled[T]] struct{}

func (marshaledCodec[T, P]) Encode(v P) ([]byte, error) { return v.Marshal() }

func (marshaledCodec[T, P]) Decode(data []byte) (P, error) {
	v := P(new(T))
	return v, v.Unmarshal(data)
}

// Raw is the codec of bytes as they are. Nothing is copied: all subscribers get the
// same slice, and must not change it.
func Raw() Codec[[]byte] { return rawCodec{} }

type rawCodec struct{}

func (rawCodec) Encode(v []byte) ([]byte, error)    { return v, nil }
func (rawCodec) Decode(data []byte) ([]byte, error) { return data, nil }
