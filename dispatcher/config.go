package dispatcher

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/setting"
)

// Config holds the settings of a Dispatcher. Every field is optional; zero
// means the default. Durations are in nanoseconds where the format has no
// words for them.
type Config struct {
	// QueueSize is how many messages of one type may wait in its inbox for the
	// loop. The loop waits for nobody, so they only do while it is busy; what
	// waits for a subscriber is in the subscriber's own queue, see WithQueue.
	// Default 65,536, at most 16,777,216.
	QueueSize int `yaml:"queue_size" json:"queue_size" toml:"queue_size"`
	// QueueBytes is how many bytes of payload of one type may wait there. A single message always fits. Default 64 MiB.
	QueueBytes int `yaml:"queue_bytes" json:"queue_bytes" toml:"queue_bytes"`
	// FilterSize is how many messages per type the duplicate filter remembers
	// at least; it remembers up to twice as many. Default 65,536, at most
	// 16,777,216. A remembered message takes 32 to 128 bytes.
	FilterSize int `yaml:"filter_size" json:"filter_size" toml:"filter_size"`
	// StopTimeout bounds Stop, together with its context. Default 5 s.
	StopTimeout time.Duration `yaml:"stop_timeout" json:"stop_timeout" toml:"stop_timeout"`
	// TickInterval is how often metrics are brought up to date. Default 1 s.
	TickInterval time.Duration `yaml:"tick_interval" json:"tick_interval" toml:"tick_interval"`
}

const (
	defaultQueueSize    = 65536
	defaultQueueBytes   = 64 << 20
	defaultFilterSize   = 65536
	defaultStopTimeout  = 5 * time.Second
	defaultTickInterval = time.Second
	maxQueueSize        = 1 << 24
	maxFilterSize       = 1 << 24
)

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	setting.Default(&c.QueueSize, defaultQueueSize)
	setting.Default(&c.QueueBytes, defaultQueueBytes)
	setting.Default(&c.FilterSize, defaultFilterSize)
	setting.Default(&c.StopTimeout, defaultStopTimeout)
	setting.Default(&c.TickInterval, defaultTickInterval)
	return c
}

// Validate reports every mistake, as *ConfigError values joined. Zero values
// are no mistakes: they mean the defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	within := func(field string, v, most int) {
		if v < 1 || v > most {
			errs = append(errs, &ConfigError{field, fmt.Errorf("%d is not within 1 and %d", v, most)})
		}
	}
	positive := func(field string, d time.Duration) {
		if d < time.Millisecond {
			errs = append(errs, &ConfigError{field, fmt.Errorf("%v is less than 1ms", d)})
		}
	}
	within("QueueSize", c.QueueSize, maxQueueSize)
	within("QueueBytes", c.QueueBytes, min(1<<40, math.MaxInt))
	within("FilterSize", c.FilterSize, maxFilterSize)
	positive("StopTimeout", c.StopTimeout)
	positive("TickInterval", c.TickInterval)
	return errors.Join(errs...)
}

// Option injects a part into a Dispatcher.
type Option func(*options)

type options struct {
	log    *logrus.Logger
	reg    metrics.Registry
	opened func(msgType string) error
	closed func(msgType string)
}

// WithLogger sets the logger. Without it, or with nil, the dispatcher has one
// of its own that writes to standard error.
func WithLogger(log *logrus.Logger) Option { return func(o *options) { o.log = log } }

// WithMetrics sets the metrics registry. Without it, or with nil, the
// dispatcher has one of its own.
func WithMetrics(reg metrics.Registry) Option { return func(o *options) { o.reg = reg } }

// WithTopicHooks sets functions that tell the owner of a dispatcher which
// message types are wanted: opened is called before a type gets its first
// subscriber, closed when it has lost its last one. The calls for one type are
// in order and never at the same time; those for several types may be. No lock
// is held, but Register and Deregister of that type wait for the call, so the
// functions must not use them. Either may be nil.
//
// An error of opened, and a panic, is why Register fails. After Stop nothing is
// called any more: subscribers stay registered.
func WithTopicHooks(opened func(msgType string) error, closed func(msgType string)) Option {
	return func(o *options) { o.opened, o.closed = opened, closed }
}
