package p2phost

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// routes is Linux' table of IPv4 routes; elsewhere there is no such file.
const routes = "/proc/net/route"

// errNoGateway is that of a host without a router.
var errNoGateway = errors.New("no default gateway")

// defaultGateway is the router through which this host reaches others.
func defaultGateway() (netip.Addr, error) {
	f, err := os.Open(routes)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("routes: %w", err)
	}
	defer f.Close()
	return gatewayIn(io.LimitReader(f, 1<<20))
}

// Flags of a route (linux/route.h).
const routeUpGateway = 0x1 | 0x2

// gatewayIn finds the default route of the smallest metric that leads through a router,
// in the form that /proc/net/route has: Iface, Destination, Gateway, Flags, RefCnt, Use,
// Metric, Mask. Addresses are numbers in the byte order of the host.
func gatewayIn(table io.Reader) (gateway netip.Addr, err error) {
	least := uint64(0)
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue // the headings, or the way to a part of the net
		}
		raw, errIP := strconv.ParseUint(f[2], 16, 32)
		flags, errFlags := strconv.ParseUint(f[3], 16, 16)
		metric, errMetric := strconv.ParseUint(f[6], 10, 32)
		if errors.Join(errIP, errFlags, errMetric) != nil || flags&routeUpGateway != routeUpGateway {
			continue
		}
		if !gateway.IsValid() || metric < least {
			var ip [4]byte
			binary.NativeEndian.PutUint32(ip[:], uint32(raw))
			gateway, least = netip.AddrFrom4(ip), metric
		}
	}
	if err := lines.Err(); err != nil {
		return netip.Addr{}, fmt.Errorf("routes: %w", err)
	}
	if !gateway.IsValid() {
		return netip.Addr{}, errNoGateway
	}
	return gateway, nil
}
