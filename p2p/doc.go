// Package p2p makes tunnels.
package p2p
