package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/p2p"
)

// parseAddress reads host:port, :port, unix:/path or a multiaddr. Without a host
// it is 127.0.0.1, so that nobody opens a tunnel to all the network by mistake.
func parseAddress(s string) (ma.Multiaddr, error) {
	if strings.HasPrefix(s, "/") {
		return ma.NewMultiaddr(s)
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return nil, errors.New("the path of a unix socket must begin with /")
		}
		return ma.NewMultiaddr("/unix" + path)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	kind := "dns"
	if ip := net.ParseIP(host); ip != nil {
		kind = "ip6"
		if ip.To4() != nil {
			kind = "ip4"
		}
	}
	return ma.NewMultiaddr(fmt.Sprintf("/%s/%s/tcp/%s", kind, host, port))
}

func parseReport(s string) (p2p.PeerReport, error) {
	switch s {
	case "":
		return p2p.ReportNone, nil
	case "peer-id":
		return p2p.ReportPeerID, nil
	case "proxy-v2":
		return p2p.ReportProxyV2, nil
	}
	return 0, fmt.Errorf("%q is neither peer-id nor proxy-v2", s)
}
