// Package bench holds what benchmarks and tests of several packages compare
// with: plain libp2p streams and plain go-libp2p-pubsub, used as well and as
// badly as a program would use them without this library, and how a comparison
// is measured. Ratios are to be taken within one run.
package bench
