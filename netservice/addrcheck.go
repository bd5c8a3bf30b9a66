package netservice

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/p2phost"
)

// checkDialable finds addresses that nobody could dial: without a port, of no
// single host, over transports that are not spoken, or with a peer ID in a wrong
// place. Names may lead anywhere.
func (c Config) checkDialable(self peer.ID) (errs []error) {
	bad := func(field string, i int, text string, err error) {
		errs = append(errs, &ConfigError{Field: fmt.Sprintf("%s[%d]", field, i), Err: fmt.Errorf("%s: %w", text, err)})
	}
	for i, text := range c.Announce {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			continue // said elsewhere
		}
		at, id := peer.SplitAddr(a)
		switch err := c.undialable(at); {
		case err != nil:
			bad("Announce", i, text, err)
		case id != "" && self != "" && id != self:
			bad("Announce", i, text, fmt.Errorf("names another peer than this node, %s", self))
		}
	}
	tunnels := make([]string, len(c.Tunnels))
	for i, t := range c.Tunnels {
		if t.Validate() == nil { // else said elsewhere
			tunnels[i] = t.Peer
		}
	}
	for _, list := range []struct {
		field string
		texts []string
	}{{"Bootstrap", c.Bootstrap}, {"Static", c.Static}, {"Reserved", c.Reserved}, {"Reachability.Relays", c.Reachability.Relays}, {"Discovery.KademliaPeers", c.Discovery.KademliaPeers}, {"Tunnels", tunnels}} {
		for i, text := range list.texts {
			a, err := ma.NewMultiaddr(text)
			if err != nil {
				continue
			}
			at, id := peer.SplitAddr(a)
			switch {
			case len(at) == 0: // an ID alone is for others to judge
			case self != "" && id == self:
				bad(list.field, i, text, fmt.Errorf("is this node itself"))
			default:
				err = c.undialable(at)
				if err == nil && p2phost.Relayed(at) && !c.Reachability.RelayClient && !c.Reachability.RelayService {
					err = fmt.Errorf("leads through a relay: needs Reachability.RelayClient")
				}
				if err != nil {
					bad(list.field, i, text, err)
				}
			}
		}
	}
	return errs
}

// undialable says why nobody can dial an address, or this configuration does not speak
// its transport.
func (c Config) undialable(a ma.Multiaddr) error {
	if err := undialable(a); err != nil {
		return err
	}
	if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err == nil && c.PSKFile != "" {
		return fmt.Errorf("QUIC cannot be used with PSKFile")
	}
	return nil
}

// undialable says why nobody can dial an address without its last peer ID, nil
// when one may.
func undialable(a ma.Multiaddr) error {
	if len(a) == 0 {
		return fmt.Errorf("there is no address")
	}
	// The way through a relay is judged up to the relay.
	for i, part := range a {
		if part.Protocol().Code == ma.P_CIRCUIT {
			if i == 0 || a[i-1].Protocol().Code != ma.P_P2P {
				return fmt.Errorf("does not name the relay: …/p2p/RELAY/p2p-circuit")
			}
			return undialable(a[:i-1])
		}
		if part.Protocol().Code == ma.P_P2P && (i+1 == len(a) || a[i+1].Protocol().Code != ma.P_CIRCUIT) {
			return fmt.Errorf("has a peer ID in the middle, or twice")
		}
	}
	switch a[0].Protocol().Code {
	case ma.P_DNSADDR:
		if len(a) != 1 {
			return fmt.Errorf("a /dnsaddr name stands alone, before the peer ID")
		}
		return nil
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	case ma.P_IP4, ma.P_IP6:
		if raw, err := manet.ToIP(a); err == nil {
			ip, _ := netip.AddrFromSlice(raw)
			ip = ip.Unmap()
			if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
				return fmt.Errorf("%s is the address of no host", ip)
			}
		}
	default:
		return fmt.Errorf("begins with /%s: want /ip4, /ip6, /dns, /dns4, /dns6 or /dnsaddr", a[0].Protocol().Name)
	}
	if len(a) < 2 || a[1].Protocol().Code != ma.P_TCP && a[1].Protocol().Code != ma.P_UDP {
		return fmt.Errorf("has no port: want /tcp/PORT or /udp/PORT/quic-v1")
	}
	if port, err := strconv.Atoi(a[1].Value()); err != nil || port == 0 {
		return fmt.Errorf("has port 0")
	}
	rest := a[2:]
	switch {
	case a[1].Protocol().Code == ma.P_TCP && len(rest) == 0:
		return nil
	case a[1].Protocol().Code == ma.P_UDP && len(rest) == 1 && rest[0].Protocol().Code == ma.P_QUIC_V1:
		return nil
	}
	return fmt.Errorf("uses a transport that this node does not speak: want /tcp/PORT or /udp/PORT/quic-v1")
}
