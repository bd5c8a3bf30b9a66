package netservice

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/inspect"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// inspection is the inspector of a service, from the first call of Inspector on.
type inspection struct {
	mu      sync.Mutex // guards the fields below
	handler *inspect.Inspector
}

// inspectedEvents is how many events wait for somebody who looks.
const inspectedEvents = 1000

// Inspector is a page that shows the service to a person, and its numbers as
// JSON to scripts under api/: peers, the way of each message type, requests,
// tunnels, and the latest thousand events since the first call of Inspector. It
// has no listener: mount it where the program likes, under a prefix with
//
//	mux.Handle("/node/", http.StripPrefix("/node", svc.Inspector()))
//
// It takes GET and HEAD only, and nothing that it serves changes the node; but it
// tells who the peers are, so it belongs behind the program's own access control.
// While nobody looks it costs nothing but the events that it holds. It may be
// called before Start, and serves after Stop, which ends the pages that are live.
func (s *NebService) Inspector() http.Handler {
	return s.inspection.open(s)
}

func (x *inspection) open(s *NebService) http.Handler {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.handler != nil {
		return x.handler
	}
	// They wait in their queue until somebody looks; no goroutine is needed.
	events := s.node.subscribe(inspectedEvents, PeerConnected, PeerDisconnected, PeerBanned, PeerRefused, PeerCrowded)
	h, err := inspect.New(snapshots{s}, inspect.Config{Events: func(add func(inspect.Event)) {
		for {
			select {
			case e, ok := <-events.Events():
				if !ok {
					return // the service has stopped, and all has been read
				}
				add(eventShown(e))
			default:
				return
			}
		}
	}})
	if err != nil {
		events.Close()
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		})
	}
	x.handler = h
	unreached := func(p peer.ID, err error) {
		h.Note(inspect.Event{At: time.Now(), Kind: "dial failed", Peer: p.String(), Detail: obs.Clean(err.Error())})
	}
	s.node.onUnreached.Store(&unreached)
	return h
}

func eventShown(e PeerEvent) inspect.Event {
	shown := inspect.Event{At: e.At, Kind: e.Kind.String(), Peer: e.Peer.String()}
	if e.Reason != ReasonNone {
		shown.Reason = e.Reason.String()
	}
	switch {
	case e.Kind == PeerBanned:
		shown.Detail = "until " + e.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	case e.ByRemote:
		shown.Detail = "said by the peer"
	case e.Kind == PeerConnected:
		shown.Detail = e.Direction.String()
	}
	return shown
}

// close ends the live pages.
func (x *inspection) close(ctx context.Context) error {
	x.mu.Lock()
	h := x.handler
	x.mu.Unlock()
	if h == nil {
		return nil
	}
	if !lifecycle.Ended(ctx, lifecycle.Go(h.Close)) {
		return fmt.Errorf("a page has not been left: %w", ctx.Err())
	}
	return nil
}
