//go:build !race

package testkit

// Race tells whether the race detector is on: what is tested then takes some ten
// times as long, and goroutines run in another order.
const Race = false
