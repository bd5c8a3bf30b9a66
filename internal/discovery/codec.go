package discovery

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of the messages; SPEC.md has them too.
const (
	MaxRecords = 16       // records in a reply
	MaxRecord  = 4 << 10  // bytes of one signed record
	maxRequest = 1 << 10  // bytes of a request's body
	maxReply   = 68 << 10 // bytes of a reply's body: 16 full records and room for fields to come
)

// Field numbers; SPEC.md has the messages in full.
const (
	requestCount protowire.Number = 1
	replyRecord  protowire.Number = 1
)

func encodeRequest(count int) []byte {
	b := protowire.AppendTag(nil, requestCount, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(count))
}

// decodeRequest returns the number of records asked for, 1 to MaxRecords: a
// larger wish is cut, a missing one is a fault.
func decodeRequest(b []byte) (count int, err error) {
	err = fields(b, func(num protowire.Number, typ protowire.Type, raw []byte) error {
		if num != requestCount {
			return nil
		}
		if typ != protowire.VarintType || count != 0 {
			return faultf(FaultMalformed, "bad count")
		}
		n, _ := protowire.ConsumeVarint(raw)
		count = int(min(n, MaxRecords))
		return nil
	})
	if err == nil && count == 0 {
		err = faultf(FaultMalformed, "request for no record")
	}
	if err != nil {
		return 0, err
	}
	return count, nil
}

func encodeReply(records [][]byte) []byte {
	var b []byte
	for _, r := range records {
		b = protowire.AppendTag(b, replyRecord, protowire.BytesType)
		b = protowire.AppendBytes(b, r)
	}
	return b
}

// decodeReply returns the records of a reply, not yet looked into. They share
// their memory with b.
func decodeReply(b []byte, asked int) (records [][]byte, err error) {
	err = fields(b, func(num protowire.Number, typ protowire.Type, raw []byte) error {
		if num != replyRecord {
			return nil
		}
		if typ != protowire.BytesType {
			return faultf(FaultMalformed, "record has wire type %d", typ)
		}
		r, _ := protowire.ConsumeBytes(raw)
		switch {
		case len(r) > MaxRecord:
			return faultf(FaultOversize, "record of %d bytes", len(r))
		case len(records) == asked:
			return faultf(FaultCount, "more than %d records", asked)
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// fields calls f for each field of a message in turn.
func fields(b []byte, f func(num protowire.Number, typ protowire.Type, raw []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return faultf(FaultMalformed, "bad tag: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return faultf(FaultMalformed, "bad field: %v", protowire.ParseError(n))
		}
		if err := f(num, typ, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
