// Package testkit is what the tests of several packages need besides virtual
// networks (internal/testnet): waiting with a deadline, hosts on loopback, ports,
// and programs as processes of their own.
//
// A test never sleeps and never looks once at something that another goroutine
// has yet to do. It waits for an event (Receive), or for a state (Eventually);
// both end the test after Deadline, which is long: nothing that works takes it,
// however busy the machine is.
package testkit
