// Package bench holds what the benchmarks of several packages compare with:
// plain libp2p streams, used as well and as badly as a program would use them
// without this library. Ratios are to be taken within one run.
package bench
