package p2phost

import (
	"math"
	"testing"
	"testing/fstest"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// The rule behind all numbers: what one peer or one address may take is far
// below the pool it takes from, on every size of machine and network.
func TestSharesAreFarBelowPools(t *testing.T) {
	for _, memory := range []int64{4 * minMemory, 512 << 20, 2 << 30, 24 << 30} {
		for _, fds := range []int{256, 512, 4096, 1 << 19} {
			for _, peers := range []int{1, 50, 200, 1000, 5000} {
				c := Config{MaxPeers: peers, Memory: memory, FDs: fds}.withDefaults()
				l := limits(c)
				far := func(what string, share, pool, factor int64) {
					if share*factor > pool {
						t.Errorf("%d peers, %d MiB, %d files: %s %d of %d", peers, memory>>20, fds, what, share, pool)
					}
				}
				far("negotiating streams", negotiatingPerPeer, int64(l.Transient.StreamsInbound), 128)
				far("handshakes of an address", handshakesPerIP, int64(l.Transient.ConnsInbound), 32)
				far("handshakes of a subnet", handshakesPerSubnet, int64(l.Transient.ConnsInbound), 8)
				far("connections", int64(l.PeerDefault.ConnsInbound), int64(l.Transient.ConnsInbound), 256)
				far("files", int64(l.PeerDefault.FD), int64(l.System.FD), 25)
				far("streams", int64(l.PeerDefault.StreamsInbound), int64(l.System.StreamsInbound), 4)
				far("memory", int64(l.PeerDefault.Memory), int64(l.System.Memory), 4)

				h := newHandshakes(c)
				if h.high >= int(min(l.Transient.ConnsInbound, l.Transient.FD)) {
					t.Errorf("eviction at %d comes after the pool of %d is full", h.high, l.Transient.ConnsInbound)
				}
				// Room for everybody: the peers, each with its streams.
				if int(l.System.ConnsInbound) < 2*peers || int(l.System.StreamsInbound) < 256*peers || int(l.Transient.StreamsInbound) < negotiatingPerPeer*peers {
					t.Errorf("%d peers do not fit: %+v", peers, l.System)
				}
			}
		}
	}
}

// What limits says is what libp2p is told: nothing is left at its defaults,
// which are made for other machines and other programs.
func TestConcreteLimits(t *testing.T) {
	c := Config{MaxPeers: 100, Memory: 8 << 30, FDs: 2048}.withDefaults()
	f := rcmgr.NewFixedLimiter(concrete(c))
	for name, got := range map[string]int{
		"peer streams":          f.GetPeerLimits("p").GetStreamLimit(network.DirInbound),
		"protocol peer streams": f.GetProtocolPeerLimits("/x").GetStreamLimit(network.DirInbound),
		"service peer streams":  f.GetServicePeerLimits("x").GetStreamLimit(network.DirInbound),
	} {
		if got != DefaultStreamsPerPeer {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := f.GetProtocolLimits("/x").GetStreamLimit(network.DirInbound); got < 100*256 {
		t.Errorf("protocol streams: %d", got)
	}
	if got := f.GetProtocolLimits("/ipfs/id/1.0.0").GetStreamLimit(network.DirInbound); got < 400 {
		t.Errorf("identify streams: %d", got)
	}
	if got := f.GetSystemLimits().GetMemoryLimit(); got != 8<<30 {
		t.Errorf("memory %d", got)
	}
	if got := f.GetSystemLimits().GetFDLimit(); got != 2048 {
		t.Errorf("files %d", got)
	}
	// A thousand tunnels to one peer, with their windows.
	if got := f.GetPeerLimits("p").GetMemoryLimit(); got < 1000*streamWindow {
		t.Errorf("peer memory %d", got)
	}
}

func TestCgroupMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, tc := range []struct {
		name string
		fs   fstest.MapFS
		want int64
	}{
		{"none", fstest.MapFS{}, math.MaxInt64},
		{"v2 own", fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("1000\n"),
			"sys/fs/cgroup/a/memory.max":   file("max\n"),
		}, 1000},
		{"v2 parent is tighter", fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"),
			"sys/fs/cgroup/a/memory.max":   file("500\n"),
		}, 500},
		{"v2 container, path of the host", fstest.MapFS{
			"proc/self/cgroup":         file("0::/system.slice/docker-1.scope\n"),
			"sys/fs/cgroup/memory.max": file("700\n"),
		}, 700},
		{"v1", fstest.MapFS{
			"proc/self/cgroup": file("12:cpu,cpuacct:/c\n5:memory:/c\n1:name=systemd:/c\n"),
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes": file("300\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		}, 300},
		{"nonsense", fstest.MapFS{
			"proc/self/cgroup":           file("what\n0::../..\n0::/x\n"),
			"sys/fs/cgroup/x/memory.max": file("-5\n"),
			"sys/fs/cgroup/memory.max":   file("lots\n"),
		}, math.MaxInt64},
	} {
		if got := cgroupMemory(tc.fs); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	if m := availableMemory(); m < 16<<20 {
		t.Errorf("this machine has %d bytes", m)
	}
	if descriptors() < 64 {
		t.Errorf("this process may open %d files", descriptors())
	}
}
