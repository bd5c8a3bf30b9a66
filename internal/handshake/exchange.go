package handshake

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
)

const (
	// DefaultTimeout bounds the whole exchange when the context has no
	// deadline.
	DefaultTimeout = 10 * time.Second
	// linger is how long a refusing side waits for the other one to have read
	// the refusal: closing the connection at once could overtake it.
	linger = time.Second
)

// Stream is what a handshake needs of a stream; network.Stream is one.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset() error
	SetDeadline(time.Time) error
}

// Result is a handshake that both sides accepted.
type Result struct {
	Version uint32 // the highest that both speak
	// Session is a random number that names the session to both sides, for their
	// logs; 0 where the opener gave none.
	Session uint64
	Remote  Hello
}

// Open runs the handshake on a stream that the caller opened. It returns when
// both sides are known to accept; the error is else a *RefusedError, a
// *FailedError or that of local.Validate.
//
// verify is called once, with a remote hello that passed Check; nil accepts
// all. A Reason that it returns goes over the wire as it is, another error as
// ReasonApplication. It must not block longer than the deadline allows; a
// panic in it becomes a refusal that wraps a *PanicError.
//
// The exchange ends at the context's deadline, or after DefaultTimeout when it
// has none. After success the stream has no deadline and belongs to the
// caller; after an error it has been closed.
func Open(ctx context.Context, s Stream, local Hello, verify func(remote Hello) error) (Result, error) {
	return run(ctx, s, local, verify, (*exchange).open)
}

// Answer runs the handshake on a stream that the other side opened; the rest
// is as for Open.
func Answer(ctx context.Context, s Stream, local Hello, verify func(remote Hello) error) (Result, error) {
	return run(ctx, s, local, verify, (*exchange).answer)
}

// exchange is one handshake under way.
type exchange struct {
	ctx    context.Context
	s      Stream
	local  Hello
	verify func(Hello) error
}

func run(ctx context.Context, s Stream, local Hello, verify func(Hello) error, role func(*exchange) (Result, error)) (Result, error) {
	if err := local.Validate(); err != nil {
		s.Reset()
		return Result{}, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(DefaultTimeout)
	}
	if err := s.SetDeadline(deadline); err != nil {
		s.Reset()
		return Result{}, &FailedError{Op: "set deadline", Reason: ReasonTransportLost, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	x := &exchange{ctx: ctx, s: s, local: local, verify: verify}
	res, err := role(x)
	if err == nil && !stop() {
		err = x.failed("finish", context.Cause(ctx))
	}
	if err == nil {
		if e := s.SetDeadline(time.Time{}); e != nil {
			err = x.failed("clear deadline", e)
		}
	}
	if err != nil {
		stop()
		x.end(err, deadline)
		return Result{}, err
	}
	return res, nil
}

func (x *exchange) open() (Result, error) {
	if err := x.write("write hello", message{hello: &x.local}); err != nil {
		return Result{}, err
	}
	m, err := x.read("read answer")
	if err != nil {
		return Result{}, err
	}
	if m.hello == nil {
		return Result{}, x.unexpected("read answer", m, Hello{})
	}
	version, err := x.judge(*m.hello)
	if err != nil {
		return Result{}, err
	}
	session := rand.Uint64()
	if err := x.write("write accept", message{accept: &accept{version: version, session: session}}); err != nil {
		return Result{}, err
	}
	return Result{Version: version, Session: session, Remote: *m.hello}, nil
}

func (x *exchange) answer() (Result, error) {
	m, err := x.read("read hello")
	if err != nil {
		return Result{}, err
	}
	if m.hello == nil {
		return Result{}, x.failed("read hello", protocolErrorf("%s before a hello", m.kind()))
	}
	version, err := x.judge(*m.hello)
	if err != nil {
		return Result{}, err
	}
	remote := *m.hello
	if err := x.write("write hello", message{hello: &x.local}); err != nil {
		return Result{}, err
	}
	if m, err = x.read("read accept"); err != nil {
		return Result{}, err
	}
	if m.accept == nil {
		return Result{}, x.unexpected("read accept", m, remote)
	}
	if m.accept.version != version {
		return Result{}, x.failed("read accept", protocolErrorf("version %d accepted instead of %d", m.accept.version, version))
	}
	return Result{Version: version, Session: m.accept.session, Remote: remote}, nil
}

// judge checks a remote hello, asks verify, and tells the other side when the
// answer is no.
func (x *exchange) judge(remote Hello) (uint32, error) {
	version, r := Check(x.local, remote)
	refused := &RefusedError{Reason: r, Remote: remote}
	if r == ReasonNone {
		err := x.ask(remote)
		if err == nil {
			return version, nil
		}
		refused.Reason, refused.Err = ReasonApplication, err
		if r, ok := errors.AsType[Reason](err); ok {
			refused.Reason = r
		}
		if r, ok := errors.AsType[*Refusal](err); ok {
			refused.Text = obs.Clean(r.Text)
		}
		if refused.Reason == ReasonNone {
			return version, nil
		}
	}
	m := message{refusal: &refusal{reason: refused.Reason, text: refused.Text}}
	if refused.Reason.Permanent() {
		// The other side learns what it met; otherwise that is none of its business.
		m.refusal.hello = &Hello{
			VersionMin: x.local.VersionMin, VersionMax: x.local.VersionMax,
			ChainID: x.local.ChainID, Genesis: x.local.Genesis, Agent: x.local.Agent,
		}
	}
	// The verdict stands, whether or not the other side can still be told.
	_ = x.write("write refusal", m)
	return 0, refused
}

func (x *exchange) ask(remote Hello) (err error) {
	if x.verify == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return x.verify(remote)
}

// unexpected turns what came instead of the message awaited into an error: a
// refusal is one, anything else a frame out of turn.
func (x *exchange) unexpected(op string, m message, remote Hello) error {
	if m.refusal == nil {
		return x.failed(op, protocolErrorf("%s out of turn", m.kind()))
	}
	if m.refusal.hello != nil {
		remote = *m.refusal.hello
	}
	return &RefusedError{Reason: m.refusal.reason, ByRemote: true, Remote: remote, Text: obs.Clean(m.refusal.text)}
}

func (x *exchange) write(op string, m message) error {
	body := m.encode()
	if _, err := x.s.Write(appendFrame(make([]byte, 0, len(body)+maxPrefix), body)); err != nil {
		return x.failed(op, err)
	}
	return nil
}

func (x *exchange) read(op string) (message, error) {
	body, err := readFrame(x.s)
	if err != nil {
		return message{}, x.failed(op, err)
	}
	m, err := decode(body)
	if err != nil {
		return message{}, x.failed(op, err)
	}
	return m, nil
}

// failed classifies an error of the exchange. A context that has ended is the
// cause of whatever the stream then says.
func (x *exchange) failed(op string, err error) error {
	if cause := x.cause(); cause != nil {
		r := ReasonRequested
		if own, ok := errors.AsType[Reason](cause); ok {
			r = own
		} else if errors.Is(cause, context.DeadlineExceeded) {
			r = ReasonTimeout
		}
		return &FailedError{Op: op, Reason: r, Err: cause}
	}
	return &FailedError{Op: op, Reason: ReasonOf(err), Err: err}
}

// cause is why the context has ended. The stream has the same deadline, and
// its timer may fire before the context's.
func (x *exchange) cause() error {
	if cause := context.Cause(x.ctx); cause != nil {
		return cause
	}
	if deadline, ok := x.ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// end disposes of a stream whose handshake failed. Whoever was refused closes
// it; whoever refused waits, a bounded time, until the other side has done so.
func (x *exchange) end(err error, deadline time.Time) {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		x.s.Reset()
		return
	}
	if refused.ByRemote {
		x.s.Close()
		return
	}
	if until := time.Now().Add(linger); until.Before(deadline) {
		deadline = until
	}
	if x.s.SetDeadline(deadline) != nil || x.s.CloseWrite() != nil {
		x.s.Reset()
		return
	}
	stop := context.AfterFunc(x.ctx, func() { x.s.Reset() })
	defer stop()
	if _, err := io.CopyN(io.Discard, x.s, MaxFrame); errors.Is(err, io.EOF) {
		x.s.Close()
		return
	}
	x.s.Reset()
}
