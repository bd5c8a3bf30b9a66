package asn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// ErrSyntax: a line of a table is not "PREFIX NUMBER".
var ErrSyntax = errors.New("want a network and the number of its autonomous system, such as \"192.0.2.0/24 64496\"")

// Read reads a table: a network and the number of its autonomous system on each line,
// with blanks between them. The number may begin with AS, and 0 says that the network
// is in none, so that no bound for systems is held against it. Empty lines, and what
// follows a ';' or '#', are passed over. Tables of routes as pyasn makes them have this
// form. Of networks that lie in each other the smaller one counts; one of IPv6 smaller
// than a /64 stands for the whole of it.
func Read(r io.Reader) (*Table, error) {
	var v4, v6 []span
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text, _, _ = strings.Cut(text, ";")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		x, six, err := line(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d, %.80q: %w", n, lines.Text(), err)
		}
		if six {
			v6 = append(v6, x)
		} else {
			v4 = append(v4, x)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return &Table{v4: flatten(v4), v6: flatten(v6)}, nil
}

// line is one entry, of IPv6 or not.
func line(fields []string) (x span, six bool, err error) {
	if len(fields) != 2 {
		return x, false, ErrSyntax
	}
	p, err := netip.ParsePrefix(fields[0])
	if err != nil || p.Addr().Is4In6() {
		return x, false, ErrSyntax
	}
	digits := strings.TrimPrefix(strings.ToUpper(fields[1]), "AS")
	num, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || uint32(num) == silent {
		return x, false, ErrSyntax
	}
	p = p.Masked()
	x = span{from: position(p.Addr()), asn: uint32(num)}
	bits := 32
	if p.Addr().Is6() {
		bits = 64
	}
	// A shift by 64, of ::/0, gives 0, and what is before 0 is the end.
	x.to = x.from + (uint64(1)<<max(bits-p.Bits(), 0) - 1)
	return x, p.Addr().Is6(), nil
}
