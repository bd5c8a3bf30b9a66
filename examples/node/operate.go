package main

import (
	"bytes"
	"context"
	"encoding/json"
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
		{"ban", "PEER|NETWORK [TIME]", "keep a peer, or a network such as 192.0.2.0/24, out for a time such as 10m (1h)", 2, ban},
		{"unban", "PEER|NETWORK", "let it in again", 1, unban},
		{"bans", "", "list who is kept out", 0, listBans},
		{"limits", "[MAX] [DIAL]", "show the limits, or set the most peers and, if given, the number to dial", 2, limits},
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
	for _, remove := range []func(string) error{svc.RemoveStaticPeer, svc.RemoveBootstrapPeer, svc.UnreservePeer} {
		if err := remove(id); err != nil {
			return err
		}
	}
	out.event("removed", map[string]any{"peer": id}, "removed "+id)
	return nil
}

func ban(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	var d time.Duration // 0 is an hour
	if arg[1] != "" {
		var err error
		if d, err = time.ParseDuration(arg[1]); err != nil || d <= 0 {
			return fmt.Errorf("%q is no time such as 10m or 24h", arg[1])
		}
	}
	if !isNetwork(arg[0]) {
		return svc.BanPeer(anyPeer(svc, arg[0]), d) // there is an event
	}
	err := svc.BanNetwork(arg[0], d)
	if err == nil {
		out.event("banned", map[string]any{"network": arg[0]}, "banned "+arg[0])
	}
	return err
}

func isNetwork(text string) bool { return strings.ContainsAny(text, ".:/") }

func unban(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	who, lift, kind := arg[0], svc.UnbanNetwork, "network"
	if !isNetwork(who) {
		lift, kind = svc.UnbanPeer, "peer"
		for _, b := range svc.Bans() {
			if s := b.Peer.String(); b.Peer != "" && strings.HasSuffix(s, who) {
				who = s
			}
		}
	}
	before := len(svc.Bans())
	if err := lift(who); err != nil {
		return err
	}
	if len(svc.Bans()) == before {
		return fmt.Errorf("%s is not banned: see bans", who)
	}
	out.event("unbanned", map[string]any{kind: who}, "unbanned "+who)
	return nil
}

func listBans(_ context.Context, svc *netservice.NebService, out *printer, _ []string) error {
	list := svc.Bans()
	for _, b := range list {
		who := b.Network.String()
		if b.Peer != "" {
			who = b.Peer.String()
		}
		left := time.Until(b.Until).Round(time.Second)
		out.event("ban", map[string]any{"of": who, "until": b.Until.UTC().Format(time.RFC3339), "reason": b.Reason, "times": b.Times},
			fmt.Sprintf("%s for %s more: %s", who, left, b.Reason))
	}
	if len(list) == 0 && !out.json {
		out.line("nobody is banned")
	}
	return nil
}

func limits(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	l := svc.PeerLimits()
	for i, n := range []*int{&l.MaxPeers, &l.OutboundPeers} {
		if arg[i] == "" {
			continue
		}
		v, err := strconv.Atoi(arg[i])
		if err != nil || v < 1-i {
			return fmt.Errorf("%q is no number of peers, %d or more", arg[i], 1-i)
		}
		*n = v
	}
	if arg[0] != "" {
		if err := svc.SetPeerLimits(l); err != nil {
			return err
		}
		l = svc.PeerLimits()
	}
	dial := "the number to dial follows from that"
	if l.OutboundPeers > 0 {
		dial = fmt.Sprintf("%d are dialled", l.OutboundPeers)
	}
	out.event("limits", map[string]any{"max": l.MaxPeers, "outbound": l.OutboundPeers}, fmt.Sprintf("at most %d peers, %s", l.MaxPeers, dial))
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
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a name with a mistake would have no effect
	if err := d.Decode(&cfg); err != nil {
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
