// Package asn tells which autonomous system an address is in: the network of one
// provider, whose addresses one customer can rent by the hundred in as many
// neighbourhoods as it likes.
//
// What is known without a file is the IPv6 table that comes with
// go-libp2p-asn-util, which every program has that links go-libp2p-kad-dht. Of
// IPv4 nothing is known then: a table of it is as large, out of date in months, and
// the operator's to choose. [Read] takes one.
package asn

import (
	"cmp"
	"net/netip"
	"slices"

	asnutil "github.com/libp2p/go-libp2p-asn-util"
)

// Table is what a file says of addresses. The nil Table is one that says nothing. It
// does not change once it is made.
type Table struct {
	v4, v6 steps
}

// Of is the number of the system that an address is in, 0 when it is not known. The
// file comes first; where it is silent, the library's table is asked.
func (t *Table) Of(ip netip.Addr) uint32 {
	ip = ip.Unmap()
	if !ip.IsValid() {
		return 0
	}
	if t != nil {
		all := &t.v6
		if ip.Is4() {
			all = &t.v4
		}
		if n, told := all.find(position(ip)); told {
			return n
		}
	}
	if ip.Is4() {
		return 0
	}
	return asnutil.AsnForIPv6Network(position(ip))
}

// position is where an address lies: the whole of IPv4, the first half of IPv6, since
// nothing smaller than a /64 is routed.
func position(ip netip.Addr) (n uint64) {
	raw := ip.AsSlice()
	for _, b := range raw[:min(len(raw), 8)] {
		n = n<<8 | uint64(b)
	}
	return n
}

// steps are the positions at which another number begins, in order.
type steps struct {
	from []uint64
	num  []uint32 // silent where the file says nothing
}

// silent is the number that is reserved last (RFC 7300), which no network has.
const silent = ^uint32(0)

func (s *steps) find(at uint64) (asn uint32, told bool) {
	i, found := slices.BinarySearch(s.from, at)
	if !found {
		i--
	}
	if i < 0 || s.num[i] == silent {
		return 0, false
	}
	return s.num[i], true
}

// put appends a step. One at the place of the last replaces it, and one that changes
// nothing is none.
func (s *steps) put(from uint64, asn uint32) {
	if n := len(s.from); n > 0 && s.from[n-1] == from {
		s.from, s.num = s.from[:n-1], s.num[:n-1]
	}
	if n := len(s.num); n > 0 && s.num[n-1] == asn || n == 0 && asn == silent {
		return
	}
	s.from, s.num = append(s.from, from), append(s.num, asn)
}

// span is one line of a file.
type span struct {
	from, to uint64 // inclusive
	asn      uint32
}

// flatten makes steps of spans, of which one may lie in another and then counts: the
// longer prefix is the route that is taken. Of two that are the same the later one
// stands.
func flatten(all []span) (s steps) {
	slices.SortStableFunc(all, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	var open []span // each in the one before
	leave := func(before uint64, last bool) {
		for len(open) > 0 && (last || open[len(open)-1].to < before) {
			end := open[len(open)-1].to
			open = open[:len(open)-1]
			if end == ^uint64(0) {
				continue // nothing comes after it
			}
			under := silent
			if len(open) > 0 {
				under = open[len(open)-1].asn
			}
			s.put(end+1, under)
		}
	}
	for _, x := range all {
		leave(x.from, false)
		s.put(x.from, x.asn)
		open = append(open, x)
	}
	leave(0, true)
	return s
}
