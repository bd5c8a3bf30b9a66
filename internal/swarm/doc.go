// Package swarm spreads large messages through a whole network in chunks, each over
// each wire about once.
//
// A large message that is pushed goes four to seven times over every node's line, and
// hop by hop as a whole. Here it is announced with the hashes of its chunks, fetched
// in chunks from several neighbours at once, each chunk verified, and passed on as it
// comes where the application has accepted the message's header.
//
//	e, err := swarm.New(swarm.Config{Host: h, Network: id, Takes: takes, Deliver: judge})
//	err = e.Start()
//	err = e.Set(spec, true, swarm.Headers{Check: check}) // a msgtype.Spec
//	ref, err := e.Prepare("block", message, value)
//	err = e.Spread(ref)
//	err = e.Close(ctx)
//
// # The way through
//
// What is asked of whom, promised and served is decided in package sched, a pure state
// machine; its frames are in package wire, with SPEC.md. This package is the shell
// around both:
//
//	stream of a peer ─► frames ─► chunks put together, hashed ─┐
//	                                                            ▼
//	Spread ─► hashed, header ─────────────────────────────► sched.Step ◄── verdicts ◄─┐
//	                                                            │                     │
//	                            frames first, then chunks in pieces    header checked, whole judged
//	                                                            │
//	                                                            ▼
//	                              stream of each peer, paced: chunks in the lowest class
//
// Whoever has something to tell the scheduler does so itself, under one lock, under
// which nothing blocks and no code of the program's runs.
//
// # What is promised
//
//   - Nothing is passed on, shown or served of a message before its header was accepted
//     or, without a header or a check, before the whole was.
//   - A chunk is verified before it is passed on; whoever sends a false one is reported
//     for a ban. Who is slow is not.
//   - A message that the application has no room for is kept and offered again; one that
//     a neighbour has no room for is announced to it again.
//   - Memory grows with what has come, never with what a peer claims, and is bounded by
//     Config.Memory for messages of others and once more for own ones.
//   - Room is shared among the neighbours: what one announces and does not deliver keeps
//     nothing of another one waiting for longer than a few seconds.
//   - Everything that leaves on a connection asks its budget: frames in the highest
//     class, chunks in the lowest and in pieces of 16 KiB at most, so that a small
//     message never waits for more than one of them.
//
// # What it reaches
//
// To 95 % of 50 whole services with ten connections each, lines of 50 Mbit/s and links
// of 20 to 100 ms, over the time of go-libp2p-pubsub in the same networks, and bytes over
// the size (3 seeds, virtual time):
//
//	go test ./netservice -run TestLargeReach -v -timeout 60m -large.nodes 50 -large.seeds 3 -large.strict
//
//	           time   the next one   a tenth silent   received a node   sent by the source
//	512 KiB    0.35   0.33           0.59             1.03              2.7
//	1 MiB      0.26   0.26           0.38             1.04              2.0
//	4 MiB      0.14   0.15           0.18             1.10              2.3
//
// The scheduler alone takes 0.48 s, 0.62 s and 1.56 s in such networks of 50 nodes, where
// go-libp2p-pubsub takes 1.7 s, 3.0 s and 13.7 s: 0.28, 0.21 and 0.11. Its simulator
// serves the connections of a line in turn and control first, in which pushing takes
// longer (0.27, 0.18, 0.12 of that; 0.24, 0.16 and 0.10 with 200 nodes: go test -run '^$'
// -bench Simulated -benchtime 1x -v ./internal/swarm/sched). The rest of what lies
// between is the window of pacing, which begins with 64 KiB and is kept while a
// connection lasts. With 32 KiB the first message took 0.47, 0.36 and 0.15; with 128 KiB
// or no bound at all it would take 0.30, 0.23 and 0.14 (two seeds), and a small message on a slow line
// would wait longer than is promised. Less delay by queueing in the lowest class (10 ms
// and an eighth of the round trip) leaves lines idle: 0.86 s in place of 0.77 s at 1 MiB;
// more (40 ms) is faster at 4 MiB only, by a twentieth. These trials had the same command.
//
// A message of 1 KiB and high priority that goes to a neighbour while 4 MiB are broadcast
// is 7 ms later on average, not at all in the median, 24 ms at nine of ten and 70 ms at
// 99 of a hundred (TestLargeLeavesSmallAlone): within a connection it passes all chunks,
// but those that other connections have handed to the same line go first. What would
// mend that is one budget for all connections of a host.
//
// Over TCP on loopback, 1 MiB among 30 services of eight connections on two cores, a node
// receives 1.03 to 1.08 of the size, where go-libp2p-pubsub receives 3.8 to 4.1, and a
// delivery takes 1.2 to 1.3 of its CPU (12 to 14 ms), beside much other load:
//
//	go test -run '^$' -bench LargeLoopback -benchtime 3x ./netservice
//
// Half the CPU is the aim, and is missed: what costs there is writes, not bytes. For each
// delivery a node writes its 65 pieces and some 190 frames in 175 writes (130 HAVE, 30
// WANT, 20 CANCEL), and makes 35 marks; where pieces were of 4 KiB and marked each, it
// took more than twice as much. Tried and of no use: news of chunks up to 20 ms late, to
// go with other frames; pieces of several chunks in one record of TLS.
//
// # What is not
//
// A message is served for a minute after it was whole here, for up to ten while a
// neighbour that was told of it does not have it, and less where memory is short; a node
// that comes later does not get it. Order is not kept.
//
// # Goroutines
//
// An engine runs one goroutine for time, one for each stream that is read, one for each
// peer while there is something to write, and one for each header under check. Close
// waits for all.
package swarm
