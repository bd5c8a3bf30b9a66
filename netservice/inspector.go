package netservice

import (
	"context"
	"net/http"
	"sync"

	"github.com/go-nebnet/nebnet/internal/inspect"
)

// inspection is the inspector of a service, from the first call of Inspector on,
// with the goroutine that notes peer events for it.
type inspection struct {
	mu      sync.Mutex // guards the fields below
	handler *inspect.Inspector
	log     inspect.Log
	events  *PeerSubscription
	wg      sync.WaitGroup
}

// Inspector is a page that shows the service to a person, and its numbers as
// JSON to scripts under api/: peers, the way of each message type, requests,
// tunnels, and the latest thousand events since the first call of Inspector. It
// has no listener: mount it where the program likes, under a prefix with
//
//	mux.Handle("/node/", http.StripPrefix("/node", svc.Inspector()))
//
// It takes GET and HEAD only, and nothing that it serves changes the node; but it
// tells who the peers are, so it belongs behind the program's own access control.
// While nobody looks it costs one goroutine that waits for events. It may be
// called before Start and serves after Stop, which ends the pages that are live.
func (s *NebService) Inspector() http.Handler {
	return s.inspection.open(s)
}

func (x *inspection) open(s *NebService) http.Handler {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.handler != nil {
		return x.handler
	}
	h, err := inspect.New(snapshots{s}, inspect.Config{Log: &x.log})
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		})
	}
	x.handler = h
	x.events = s.SubscribePeers(PeerConnected, PeerDisconnected, PeerBanned, PeerRefused, PeerCrowded)
	x.wg.Go(x.note) // ends when the peers' feed is closed
	return h
}

// note is the goroutine that keeps the latest events.
func (x *inspection) note() {
	for e := range x.events.Events() {
		ev := inspect.Event{At: e.At, Kind: e.Kind.String(), Peer: e.Peer.String()}
		if e.Reason != ReasonNone {
			ev.Reason = e.Reason.String()
		}
		switch {
		case e.Kind == PeerBanned:
			ev.Detail = "until " + e.Until.UTC().Format("2006-01-02 15:04:05 UTC")
		case e.ByRemote:
			ev.Detail = "said by the peer"
		case e.Kind == PeerConnected:
			ev.Detail = e.Direction.String()
		}
		x.log.Add(ev)
	}
}

// close ends the live pages and the goroutine.
func (x *inspection) close(ctx context.Context) error {
	x.mu.Lock()
	h, events := x.handler, x.events
	x.mu.Unlock()
	if h == nil {
		return nil
	}
	events.Close()
	return within(ctx, func() error {
		h.Close()
		x.wg.Wait()
		return nil
	})
}
