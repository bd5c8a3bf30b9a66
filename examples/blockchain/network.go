package main

// Teaches: many services in one process share nothing. One follower joins late, one
// goes away for a third of the run, and both end where all others are.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// member is a place in the network; its node comes and goes, its directory stays.
type member struct {
	number, validator int
	name, dir         string
	node              *node // nil while it is away
}

type network struct {
	members []*member
	pages   *pages
	out     io.Writer
	nonces  [8]uint64
}

// runNetwork runs n nodes until ctx ends, and then until all agree.
func runNetwork(ctx context.Context, n int, p *pages, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "toychain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	net := &network{pages: p, out: out}
	defer func() {
		for _, m := range net.members {
			err = errors.Join(err, m.leave())
		}
	}()
	for i := range n {
		m := &member{number: i, validator: i, name: fmt.Sprint("validator ", i), dir: filepath.Join(dir, fmt.Sprint(i))}
		if i >= len(validatorKeys) {
			m.name, m.validator = fmt.Sprint("follower ", i), -1
		}
		net.members = append(net.members, m)
		if i == n-1 && m.validator < 0 {
			break // it joins late
		}
		if err := net.start(m); err != nil {
			return err
		}
	}
	return net.live(ctx)
}

// start starts a node, which knows one other to begin with.
func (net *network) start(m *member) (err error) {
	var boot []string
	if first := net.members[0].node; first != nil {
		boot = []string{first.svc.Node().Addrs()[0].String()}
	}
	m.node, err = startNode(m.dir, m.validator, config("/ip4/127.0.0.1/tcp/0", boot...), net.out)
	if err == nil {
		net.pages.show(m.number, m.node)
	}
	return err
}

func (m *member) leave() error {
	n := m.node
	if m.node = nil; n == nil {
		return nil
	}
	return n.close()
}

// live makes transactions and shows the table until ctx ends.
func (net *network) live(ctx context.Context) error {
	began := time.Now()
	third := 20 * time.Second // of a run without an end
	if end, ok := ctx.Deadline(); ok {
		third = time.Until(end) / 3
	}
	txs, table := time.Tick(100*time.Millisecond), time.Tick(time.Second)
	last, away := net.members[len(net.members)-1], net.members[len(net.members)-2]
	joins, leaves, returns := time.After(third/2), time.After(third), time.After(2*third)
	for err := error(nil); ; {
		select {
		case <-txs:
			err = net.spend(ctx)
		case <-table:
			net.table(time.Since(began))
		case <-joins:
			if last.node == nil {
				fmt.Fprintln(net.out, last.name, "joins")
				err = net.start(last)
			}
		case <-leaves:
			if away.validator < 0 {
				fmt.Fprintln(net.out, away.name, "goes away")
				err = away.leave()
			}
		case <-returns:
			if away.node == nil {
				fmt.Fprintln(net.out, away.name, "comes back")
				err = net.start(away)
			}
		case <-ctx.Done():
			return net.settle()
		}
		if err != nil {
			return err
		}
	}
}

// spend broadcasts a transaction of a random account, by a random node.
func (net *network) spend(ctx context.Context) error {
	m := net.members[rand.IntN(len(net.members))]
	if m.node == nil {
		return nil
	}
	from := rand.IntN(len(accounts))
	tx := transaction{To: addressOf(accounts[rand.IntN(len(accounts))]), Amount: 1 + rand.Uint64N(10), Nonce: net.nonces[from]}.signed(accounts[from])
	switch err := newTx.Broadcast(ctx, m.node.svc, tx); {
	case err == nil:
		net.nonces[from]++
		m.node.pool.add(tx) // a broadcast does not come back to its sender
	case !errors.Is(err, netservice.ErrNoPeers) && !errors.Is(err, netservice.ErrQueueFull) && ctx.Err() == nil:
		return err // after the others the same nonce is used again
	}
	return nil
}

func (net *network) table(elapsed time.Duration) {
	w := tabwriter.NewWriter(net.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\tpeers\theight\thead\twaiting\tswitches\n", elapsed.Round(time.Second))
	for _, m := range net.members {
		if n := m.node; n != nil {
			s := n.status()
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\n", m.name, len(n.svc.Peers()), s.Height, s.Head.short(), n.pool.size(), n.chain.switches())
		}
	}
	w.Flush()
}

// settle makes no more blocks, and waits until all nodes have the same head.
func (net *network) settle() error {
	for _, m := range net.members {
		if m.node == nil {
			if err := net.start(m); err != nil {
				return err
			}
		}
		m.node.pause()
	}
	heads := map[hash]bool{}
	for range 150 {
		clear(heads)
		for _, m := range net.members {
			heads[m.node.status().Head] = true
		}
		if head := net.members[0].node.status(); len(heads) == 1 && head.Height > 0 {
			fmt.Fprintf(net.out, "\nall %d nodes are at block %d %s\n", len(net.members), head.Height, head.Head)
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("the nodes do not agree: %v", heads)
}
