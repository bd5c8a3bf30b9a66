package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// operating are the commands with which an operator steers the node.
func operating() []command {
	return []command{
		{"add", "ADDR", "keep the peer at a full multiaddr connected", 1, addPeer},
		{"remove", "PEER", "keep a peer connected no longer", 1, removePeer},
		{"ban", "PEER|NETWORK [TEXT]", "keep a peer, or a network such as 192.0.2.0/24, out for a time such as 10m", 2, ban},
		{"unban", "PEER|NETWORK", "let it in again", 1, unban},
		{"limits", "MAX [TEXT]", "set the most peers and, if given, the number to dial", 2, setLimits},
		{"why", "PEER", "say why a peer is not connected", 1, why},
		{"trace", "on|off|TYPE", "keep the ways of messages, of all types or one; the page of -http shows them", 1, trace},
		{"reload", "FILE", "follow the configuration in a JSON file from now on", 1, reload},
	}
}

func addPeer(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	if err := svc.AddStaticPeer(arg[0]); err != nil {
		return err
	}
	out.event("added", map[string]any{"addr": arg[0]}, "added "+arg[0])
	return nil
}

func trace(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	switch arg[0] {
	case "on":
		svc.StartTracing()
	case "off":
		svc.StopTracing()
	default:
		svc.StartTracing(arg[0])
	}
	out.event("trace", map[string]any{"of": arg[0]}, "tracing: "+arg[0])
	return nil
}

func removePeer(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	id := anyPeer(svc, arg[0])
	err := errors.Join(svc.RemoveStaticPeer(id), svc.RemoveBootstrapPeer(id), svc.UnreservePeer(id))
	if err == nil {
		out.event("removed", map[string]any{"peer": id}, "removed "+id)
	}
	return err
}

func ban(_ context.Context, svc *netservice.NebService, _ *printer, arg []string) error {
	var d time.Duration // 0 is an hour
	if arg[1] != "" {
		var err error
		if d, err = time.ParseDuration(arg[1]); err != nil {
			return err
		}
	}
	if strings.ContainsAny(arg[0], ".:/") {
		return svc.BanNetwork(arg[0], d)
	}
	return svc.BanPeer(anyPeer(svc, arg[0]), d)
}

func unban(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	if strings.ContainsAny(arg[0], ".:/") {
		return svc.UnbanNetwork(arg[0])
	}
	id := arg[0]
	for _, b := range svc.Bans() {
		if s := b.Peer.String(); b.Peer != "" && strings.HasSuffix(s, id) {
			id = s
		}
	}
	err := svc.UnbanPeer(id)
	if err == nil {
		out.event("unbanned", map[string]any{"peer": id}, "unbanned "+id)
	}
	return err
}

func setLimits(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	l := svc.PeerLimits()
	var err error
	if l.MaxPeers, err = strconv.Atoi(arg[0]); err != nil {
		return err
	}
	if l.MaxPeers < 1 {
		return fmt.Errorf("at least 1 peer must be allowed")
	}
	if arg[1] != "" {
		if l.OutboundPeers, err = strconv.Atoi(arg[1]); err != nil {
			return err
		}
	}
	if err := svc.SetPeerLimits(l); err != nil {
		return err
	}
	out.event("limits", map[string]any{"max": l.MaxPeers, "outbound": l.OutboundPeers}, fmt.Sprintf("at most %d peers", l.MaxPeers))
	return nil
}

func why(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	w, err := svc.Why(anyPeer(svc, arg[0]))
	if err == nil {
		out.event("why", map[string]any{"peer": w.Peer.String(), "connected": w.Connected, "reason": w.Reason}, w.String())
	}
	return err
}

func reload(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	raw, err := os.ReadFile(arg[0])
	if err != nil {
		return err
	}
	cfg := svc.Config() // what the file does not say stays
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return fmt.Errorf("%s: %w", arg[0], err)
	}
	if err := svc.Reload(cfg); err != nil {
		return err
	}
	out.event("reloaded", map[string]any{"file": arg[0]}, "reloaded "+arg[0])
	return nil
}

// anyPeer completes the last letters of the ID of a peer that is connected; of
// others the whole ID is needed.
func anyPeer(svc *netservice.NebService, end string) string {
	if id, err := findPeer(svc, end); err == nil {
		return id
	}
	return end
}
