package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/go-nebnet/nebnet/p2p"
)

// statusRequests receives the signal that asks for the table, until stop. It
// would end the program otherwise.
func statusRequests() (asked <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	if statusSignal != nil {
		signal.Notify(ch, statusSignal)
	}
	return ch, func() { signal.Stop(ch) }
}

// watch prints the table when asked to, until ctx ends.
func watch(ctx context.Context, tunnels *p2p.P2P, asked <-chan os.Signal, every time.Duration, w io.Writer) {
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-asked:
			printStatus(w, tunnels)
		case <-tick:
			printStatus(w, tunnels)
		case <-ctx.Done():
			return
		}
	}
}

func printStatus(w io.Writer, tunnels *p2p.P2P) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LISTENER\tKIND\tPROTOCOL\tLISTEN\tTARGET\tRUNNING\tACCEPTED\tREFUSED\tIN\tOUT")
	for _, l := range tunnels.Listeners.List() {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n",
			l.ID, l.Kind, l.Protocol, l.Listen, l.Target, l.Active, l.Accepted, l.Refused, l.BytesIn, l.BytesOut)
	}
	fmt.Fprintln(t, "STREAM\tLISTENER\tPROTOCOL\tPEER\tLOCAL\tSTATE\tAGE\tIN\tOUT")
	for _, s := range tunnels.Streams.List() {
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n",
			s.ID, s.Listener, s.Protocol, s.Peer, s.Local, s.State, s.Age.Round(time.Second), s.BytesIn, s.BytesOut)
	}
	_ = t.Flush()
}
