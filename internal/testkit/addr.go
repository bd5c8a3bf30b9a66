package testkit

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

// Addr is a multiaddr from its text.
func Addr(t testing.TB, s string) ma.Multiaddr {
	t.Helper()
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
