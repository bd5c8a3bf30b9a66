// Package listener keeps account of what is listening for tunnels: local
// sockets whose connections go to a peer, and protocols served to peers. A
// Registry lists them and closes them by identity, protocol, target or listen
// address. Package p2p makes the listeners:
//
//	for _, l := range tunnels.Listeners.List() {
//		fmt.Println(l.ID, l.Kind, l.Protocol, l.Listen, l.Target, l.Running(), l.BytesIn, l.BytesOut)
//	}
//	_, running := tunnels.Listeners.Close(listener.ByProtocol("/x/web"))
//
// Closing a listener leaves its running streams alone and says which they are;
// CloseStreams resets them too.
//
// A listener on a socket runs one goroutine, which accepts. Errors of accepting
// that may pass (no descriptors left, say) make it wait, from 5 ms to 1 s; any
// other error ends the listener, which leaves the registry, logs the error and
// tells it by Done and Err. Close returns when that goroutine has ended.
package listener
