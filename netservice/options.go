package netservice

import (
	"context"
	"log/slog"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	madns "github.com/multiformats/go-multiaddr-dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/random"
)

// Option injects a part that is not plain data. A nil Option changes nothing.
type Option func(*options)

type options struct {
	logger    *logrus.Logger
	registry  metrics.Registry
	host      host.Host
	hostOpts  []libp2p.Option
	transport any
	key       crypto.PrivKey
	check     PeerCheck
	payload   func() []byte
	messageID MessageID
	gossip    *GossipParams
	store     PeerStore
	libp2p    prometheus.Registerer
	sources   []PeerSource
	progress  func(LargeMessage)
	random    random.Source
	dns       *madns.Resolver
}

// PeerHello is what a peer said of itself in the handshake, already checked to
// be of this chain.
type PeerHello struct {
	ID           peer.ID
	Agent        string // cleaned, at most 128 bytes
	Capabilities []string
	Version      uint32 // highest version that both sides speak
	Payload      []byte // what the peer's own WithPayload gave, at most 16 KiB
}

// PeerCheck decides whether a peer of this chain is welcome. Returning a
// DisconnectReason tells the peer just that; any other error tells it that the
// application refused. The check must return before ctx ends, and may be
// called from several goroutines. A panic counts as a refusal.
type PeerCheck func(ctx context.Context, hello PeerHello) error

// WithLogger makes the service log to l. Default: a private logger that writes
// text at Info to standard error.
func WithLogger(l *logrus.Logger) Option { return func(o *options) { o.logger = l } }

// WithSlog makes the service log to l, each field as an attribute. Levels that l
// does not take when NewNebService is called are left out from then on. nil
// changes nothing.
func WithSlog(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = obs.FromSlog(l)
		}
	}
}

// WithMetrics makes the service keep its metrics in r. Give each service a
// registry of its own, such as a metrics.NewPrefixedChildRegistry of the
// program's: in one that services share, counters are sums, and a gauge has the
// value of the service that wrote it last. Default: a private registry, see
// NebService.Metrics.
func WithMetrics(r metrics.Registry) Option { return func(o *options) { o.registry = r } }

// WithHost makes the service run on a libp2p host that the program already
// has. The host stays the program's own: Stop leaves it open, its connections
// to nodes without this chain are left alone, and the fields of Config about
// keys, addresses and private networks are not used. A host carries one service
// at a time, and no pubsub of its own beside it: Start returns ErrHostTaken.
func WithHost(h host.Host) Option { return func(o *options) { o.host = h } }

// WithHostOptions adds libp2p options to the host that the service builds,
// after its own.
func WithHostOptions(opts ...libp2p.Option) Option {
	return func(o *options) { o.hostOpts = append(o.hostOpts, opts...) }
}

// WithIdentity gives the node an Ed25519 key that the program keeps itself, in
// place of the key file in Config.DataDir.
func WithIdentity(key crypto.PrivKey) Option { return func(o *options) { o.key = key } }

// WithTransport replaces TCP and QUIC by one transport, given as what
// libp2p.Transport takes. Config.Listen may then hold addresses of any form, and
// no port of the machine is checked. It is for simulated networks.
func WithTransport(constructor any) Option {
	return func(o *options) { o.transport = constructor }
}

// WithSeed has the choices that the service makes at random follow from a number:
// whom it dials, gossips with, asks for peers and sends requests to, and by how much
// its times vary. It is for tests: who knows the seed foresees the choices. Keys and
// what libp2p draws do not follow. Default: no two runs are alike.
func WithSeed(seed uint64) Option { return func(o *options) { o.random = random.Seeded(seed) } }

// WithPeerCheck has every peer of this chain checked by the application.
func WithPeerCheck(check PeerCheck) Option { return func(o *options) { o.check = check } }

// WithPayload gives the application's part of the hello, such as its best
// block, anew for every handshake, once by Start, and by NebService.RenewPayload. At most 16 KiB: Start then
// returns a *ConfigError with ErrPayloadTooLarge, and a later handshake fails,
// which is logged and counted. After a panic the payload is empty.
func WithPayload(payload func() []byte) Option { return func(o *options) { o.payload = payload } }

// WithLibp2pMetrics has libp2p's own metrics (connections, dials, identify, the
// resource manager and so on; names that begin with libp2p_) registered with reg
// when the service starts, beside those of NebService.Collector. Services that
// share a registry share these too. It changes nothing with WithHost. Default:
// libp2p counts nothing.
func WithLibp2pMetrics(reg prometheus.Registerer) Option {
	return func(o *options) { o.libp2p = reg }
}

// WithMessageID replaces how broadcast messages are named; all nodes of the
// network must use the same. Default: 20 bytes of SHA-256 over topic and data or,
// with Config.SignMessages, author and sequence number.
func WithMessageID(id MessageID) Option { return func(o *options) { o.messageID = id } }

// WithGossipParams sets every parameter of gossip, in place of
// Config.GossipProfile. Take one of the three sets and change what must differ.
// NewNebService reports what is wrong with them as *ConfigError, each naming the
// field, such as GossipParams.Dlo.
func WithGossipParams(p GossipParams) Option { return func(o *options) { o.gossip = &p } }
