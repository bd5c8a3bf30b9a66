package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An operator names a peer, asks about it, bans it and lets it in again, sets
// limits and reloads, without a restart.
func TestOperate(t *testing.T) {
	t.Parallel()
	a := runNode(t, "-max-peers", "7")
	addr := a.await("listening")["addr"].(string)
	id := addr[strings.LastIndex(addr, "/")+1:]
	b := runNode(t)
	b.await("listening")
	b.say("why " + id)
	if e := b.await("why"); e["connected"] != false || e["reason"] == "" {
		t.Errorf("%v", e)
	}
	b.say("add " + addr)
	b.await("connected")
	b.say("ban " + id[len(id)-6:] + " 1h")
	b.await("banned")
	b.say("why " + id)
	if e := b.await("why"); !strings.Contains(e["reason"].(string), "banned") {
		t.Errorf("%v", e)
	}
	b.say("bans")
	if e := b.await("ban"); e["of"] != id {
		t.Errorf("%v", e)
	}
	b.say("unban " + id[len(id)-6:])
	b.await("unbanned")
	b.await("connected")
	b.say("limits 9 2")
	if e := b.await("limits"); e["max"] != 9.0 {
		t.Errorf("%v", e)
	}
	b.say("limits")
	if e := b.await("limits"); e["max"] != 9.0 || e["outbound"] != 2.0 {
		t.Errorf("%v", e)
	}
	b.say("ban 192.0.2.7 10m")
	if e := b.await("banned"); e["network"] != "192.0.2.7" {
		t.Errorf("%v", e)
	}
	b.say("unban 192.0.2.7")
	b.await("unbanned")
	file := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(file, []byte(`{"max_peers": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.say("reload " + file)
	b.await("reloaded")
	for _, what := range []string{"on", "tx", "off"} {
		b.say("trace " + what)
		b.await("trace")
	}
	b.say("remove " + id)
	b.await("removed")
	if err := os.WriteFile(file, []byte(`{"max_pears": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, word := range map[string]string{
		"limits x": `"x" is no number of peers`, "limits 0": "1 or more", "limits 2 3": "OutboundPeers", "limits 1 2 3": "no number",
		"ban " + id + " soon": "no time such as 10m", "ban 192.0.2.7 -5m": "no time", "ban 192.0.2.7777": "192.0.2.7777",
		"ban": "usage: ban PEER|NETWORK [TIME]", "unban 192.0.2.7": "not banned", "unban nobody": "peer ID",
		"remove nobody": "peer ID", "add nobody": "peer address", "why nobody": "peer ID",
		"reload " + file: "max_pears", "reload": "usage: reload FILE", "peers x": "usage: peers",
	} {
		b.say(line)
		if e := b.await("error"); !strings.Contains(e["error"].(string), word) {
			t.Errorf("%s: %v", line, e)
		}
	}
	for _, n := range []*running{a, b} {
		n.say("quit")
		if code := n.exit(); code != 0 {
			t.Errorf("exit status %d", code)
		}
	}
}
