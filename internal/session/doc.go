// Package session carries typed messages between this node and one peer, once
// the two have shaken hands.
package session
