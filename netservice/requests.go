package netservice

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/reqresp"
)

// Method is a method of requests: one request, one answer. It is declared once
// with DeclareMethod and usable with any service; its methods are safe for
// concurrent use.
type Method[Req, Ans any] struct{ endpoint[Req, Ans] }

// StreamMethod is a method whose answers are a stream, see DeclareStream.
type StreamMethod[Req, Ans any] struct{ endpoint[Req, Ans] }

// UploadMethod is a method whose requests are a stream, see DeclareUpload.
type UploadMethod[Req, Ans any] struct{ endpoint[Req, Ans] }

// endpoint is what methods of all kinds have in common.
type endpoint[Req, Ans any] struct {
	spec reqresp.Spec
	req  Codec[Req]
	ans  Codec[Ans]
}

// DeclareMethod declares a method: its name on the wire (1 to 64 bytes of
// letters, digits, dot, dash and underscore), how requests and answers are
// encoded, and its limits. A mistake in them, or a nil codec, is reported by the
// first use, as a *ConfigError.
//
//	var GetBlock = netservice.DeclareMethod("block", netservice.JSON[uint64](), netservice.JSON[*Block]())
//
//	_, err := GetBlock.Serve(svc, func(ctx context.Context, from peer.ID, height uint64) (*Block, error) {
//		return chain.Block(height) // or netservice.ErrNotFound
//	})
//	block, err := GetBlock.Call(ctx, svc, from, 12)
func DeclareMethod[Req, Ans any](name string, req Codec[Req], ans Codec[Ans], opts ...MethodOption) *Method[Req, Ans] {
	return &Method[Req, Ans]{newEndpoint(reqresp.Unary, name, req, ans, opts)}
}

// DeclareStream is DeclareMethod for a method whose answers are a stream.
func DeclareStream[Req, Ans any](name string, req Codec[Req], ans Codec[Ans], opts ...MethodOption) *StreamMethod[Req, Ans] {
	return &StreamMethod[Req, Ans]{newEndpoint(reqresp.Stream, name, req, ans, opts)}
}

// DeclareUpload is DeclareMethod for a method whose requests are a stream.
func DeclareUpload[Req, Ans any](name string, req Codec[Req], ans Codec[Ans], opts ...MethodOption) *UploadMethod[Req, Ans] {
	return &UploadMethod[Req, Ans]{newEndpoint(reqresp.Upload, name, req, ans, opts)}
}

func newEndpoint[Req, Ans any](kind reqresp.Kind, name string, req Codec[Req], ans Codec[Ans], opts []MethodOption) endpoint[Req, Ans] {
	o := methodOptions{reqresp.Spec{Name: name, Kind: kind}}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return endpoint[Req, Ans]{spec: o.spec, req: req, ans: ans}
}

// Name is the method's name on the wire.
func (e *endpoint[Req, Ans]) Name() string { return e.spec.Name }

// Serving is a method that is served; Close ends it.
type Serving struct{ stop func() }

// Close stops serving: later calls are ErrUnsupported for their callers. Handlers
// that run are not waited for. It is idempotent, and its error is nil.
func (s *Serving) Close() error {
	s.stop()
	return nil
}

// Serve has calls of the method answered by fn, on many goroutines at once. Its
// context ends at the deadline, when the caller gives up, and with the session.
// What it returns reaches the caller as an answer or as an error: a *RequestError
// with its text, an ErrorCode alone, and any other as ErrInternal, logged here and
// told to nobody. A panic is recovered, counted and answered the same way. A
// service may serve a method before Start. Errors: *ConfigError, ErrConflict when
// it is served already, ErrStopped.
func (m *Method[Req, Ans]) Serve(s *NebService, fn func(ctx context.Context, from peer.ID, req Req) (Ans, error)) (*Serving, error) {
	if fn == nil {
		return nil, errNilHandler(m.spec.Name)
	}
	return m.serve(s, reqresp.Handler{Unary: func(ctx context.Context, from peer.ID, data []byte) ([]byte, error) {
		req, err := m.request(s, from, data)
		if err != nil {
			return nil, handlerError(err)
		}
		return m.answer(fn(ctx, from, req))
	}})
}

// Call asks a peer and waits for its answer, until ctx ends or, where it has no
// deadline, nothing of the answer has come for the method's deadline (10 s by
// default). Errors: *RequestError when the peer, or a limit of this node, decided
// so; *TransportError when nobody did, such as with ErrUnknownPeer or a session
// that ended; ErrBadAnswer; ErrNotStarted.
func (m *Method[Req, Ans]) Call(ctx context.Context, s *NebService, to peer.ID, req Req) (Ans, error) {
	var zero Ans
	data, err := m.encode(s, req)
	if err != nil {
		return zero, err
	}
	got, err := s.node.requests.Call(ctx, to, &m.spec, data)
	if err != nil {
		return zero, requestError(err)
	}
	return m.decode(s, to, got)
}

// Serve is Method.Serve for answers that are made one after the other: each is
// sent as it is yielded, and the next one is asked for when the caller has room. A
// yielded error is the last. yield is false when the caller has ended its loop.
func (m *StreamMethod[Req, Ans]) Serve(s *NebService, fn func(ctx context.Context, from peer.ID, req Req) iter.Seq2[Ans, error]) (*Serving, error) {
	if fn == nil {
		return nil, errNilHandler(m.spec.Name)
	}
	return m.serve(s, reqresp.Handler{Stream: func(ctx context.Context, from peer.ID, data []byte) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			req, err := m.request(s, from, data)
			if err != nil {
				yield(nil, handlerError(err))
				return
			}
			for ans, err := range fn(ctx, from, req) {
				if data, err := m.answer(ans, err); !yield(data, err) || err != nil {
					return
				}
			}
		}
	}})
}

// Call asks a peer and yields its answers as they come. Ending the loop ends the
// handler. At most the method's window, and one answer, wait here for the loop.
// The stream fails when nothing has come for the method's deadline. An error is
// the last thing yielded; they are those of Method.Call.
func (m *StreamMethod[Req, Ans]) Call(ctx context.Context, s *NebService, to peer.ID, req Req) iter.Seq2[Ans, error] {
	return func(yield func(Ans, error) bool) {
		var zero Ans
		data, err := m.encode(s, req)
		if err != nil {
			yield(zero, err)
			return
		}
		for got, err := range s.node.requests.Stream(ctx, to, &m.spec, data) {
			if err != nil {
				yield(zero, requestError(err))
				return
			}
			ans, err := m.decode(s, to, got)
			if !yield(ans, err) || err != nil {
				return
			}
		}
	}
}

// Serve is Method.Serve for requests that come one after the other. fn may answer
// before it has seen them all. A request that does not decode, and a caller that
// goes away, are the last thing that is yielded.
func (m *UploadMethod[Req, Ans]) Serve(s *NebService, fn func(ctx context.Context, from peer.ID, reqs iter.Seq2[Req, error]) (Ans, error)) (*Serving, error) {
	if fn == nil {
		return nil, errNilHandler(m.spec.Name)
	}
	return m.serve(s, reqresp.Handler{Upload: func(ctx context.Context, from peer.ID, parts iter.Seq2[[]byte, error]) ([]byte, error) {
		return m.answer(fn(ctx, from, func(yield func(Req, error) bool) {
			for data, err := range parts {
				var req Req
				if err == nil {
					req, err = m.request(s, from, data)
				}
				if !yield(req, err) || err != nil {
					return
				}
			}
		}))
	}})
}

// Call sends a peer requests and returns its answer, which may come before all of
// them are sent. An error among the requests ends the call and is returned. Other
// errors are those of Method.Call.
func (m *UploadMethod[Req, Ans]) Call(ctx context.Context, s *NebService, to peer.ID, reqs iter.Seq2[Req, error]) (Ans, error) {
	var zero Ans
	if err := m.usable(s); err != nil {
		return zero, err
	}
	got, err := s.node.requests.Upload(ctx, to, &m.spec, func(yield func([]byte, error) bool) {
		for req, err := range reqs {
			var data []byte
			if err == nil {
				data, err = m.encode(s, req)
			}
			if !yield(data, err) || err != nil {
				return
			}
		}
	})
	if err != nil {
		return zero, requestError(err)
	}
	return m.decode(s, to, got)
}

func (e *endpoint[Req, Ans]) serve(s *NebService, h reqresp.Handler) (*Serving, error) {
	if err := e.codecs(); err != nil {
		return nil, err
	}
	stop, err := s.node.requests.Serve(&e.spec, h)
	if err != nil {
		return nil, requestError(err)
	}
	return &Serving{stop: stop}, nil
}

func (e *endpoint[Req, Ans]) codecs() error {
	if e.req == nil || e.ans == nil {
		return &ConfigError{Field: "method " + e.spec.Name + ".Codec", Err: errors.New("is nil")}
	}
	return nil
}

func errNilHandler(method string) error {
	return &ConfigError{Field: "method " + method, Err: dispatcher.ErrNilHandler}
}

// usable tells whether calls can be made now.
func (e *endpoint[Req, Ans]) usable(s *NebService) error {
	if err := e.codecs(); err != nil {
		return err
	}
	return s.running()
}

func (e *endpoint[Req, Ans]) encode(s *NebService, req Req) ([]byte, error) {
	if err := e.usable(s); err != nil {
		return nil, err
	}
	data, err := e.req.Encode(req)
	if err != nil {
		return nil, fmt.Errorf("encode request of %s: %w", e.spec.Name, err)
	}
	return data, nil
}

// request decodes what a peer asks. What does not decode counts against it.
func (e *endpoint[Req, Ans]) request(s *NebService, from peer.ID, data []byte) (Req, error) {
	req, err := e.req.Decode(data)
	if err != nil {
		s.node.badRequest(from, e.spec.Name, err)
		return req, ErrBadRequest
	}
	return req, nil
}

// answer encodes what a handler returns.
func (e *endpoint[Req, Ans]) answer(ans Ans, err error) ([]byte, error) {
	if err != nil {
		return nil, handlerError(err)
	}
	data, err := e.ans.Encode(ans)
	if err != nil {
		return nil, fmt.Errorf("encode answer of %s: %w", e.spec.Name, err)
	}
	return data, nil
}

// decode decodes an answer. What does not decode counts against the peer.
func (e *endpoint[Req, Ans]) decode(s *NebService, from peer.ID, data []byte) (Ans, error) {
	ans, err := e.ans.Decode(data)
	if err != nil {
		s.node.badRequest(from, e.spec.Name, err)
		var zero Ans
		return zero, fmt.Errorf("call %s of %s: %w: %s", e.spec.Name, from, ErrBadAnswer, obs.Clean(err.Error()))
	}
	return ans, nil
}

// MethodOption changes the declaration of a method.
type MethodOption func(*methodOptions)

type methodOptions struct{ spec reqresp.Spec }

// MaxRequest bounds a request, in bytes as encoded; all nodes must agree.
// Default: 64 KiB.
func MaxRequest(bytes int) MethodOption { return func(o *methodOptions) { o.spec.MaxRequest = bytes } }

// MaxAnswer bounds an answer, in bytes as encoded; all nodes must agree.
// Default: 4 MiB.
func MaxAnswer(bytes int) MethodOption { return func(o *methodOptions) { o.spec.MaxAnswer = bytes } }

// WithDeadline sets how long a caller whose context has no deadline waits while
// nothing comes, and how long a handler may take for an answer; of streams, for
// each part. Default: 10 s.
func WithDeadline(d time.Duration) MethodOption {
	return func(o *methodOptions) { o.spec.Deadline = d }
}

// WithWindow bounds the bytes of streamed answers that are on their way or wait
// for the caller's loop, beside one whole answer. 64 KiB to 16 MiB; default:
// 1 MiB. A fast peer far away needs its bandwidth times the round trip.
func WithWindow(bytes int) MethodOption { return func(o *methodOptions) { o.spec.Window = bytes } }

// WithConcurrency bounds the handlers of the method that run at once, and those of
// one peer. Defaults: 32 and 16.
func WithConcurrency(all, perPeer int) MethodOption {
	return func(o *methodOptions) { o.spec.Concurrency, o.spec.PerPeer = all, perPeer }
}

// WithQueue bounds the calls that wait for a handler, and those of one peer; what
// is above is answered ErrBusy at once. Defaults: 256 and 64. Negative: none.
func WithQueue(all, perPeer int) MethodOption {
	return func(o *methodOptions) { o.spec.Queue, o.spec.PeerQueue = all, perPeer }
}

// WithRate bounds the calls of one peer, per second, after a burst; what is above
// is answered ErrBusy at once. Default: no limit.
func WithRate(perSecond float64, burst int) MethodOption {
	return func(o *methodOptions) { o.spec.Rate, o.spec.Burst = perSecond, burst }
}
