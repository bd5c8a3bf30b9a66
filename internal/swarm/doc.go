// Package swarm spreads large messages through a whole network in chunks, each over
// each wire about once.
//
// A large message that is pushed goes four to seven times over every node's line, and
// hop by hop as a whole. Here it is announced with the hashes of its chunks, fetched
// in chunks from several neighbours at once, each chunk verified, and passed on as it
// comes where the application has accepted the message's header.
//
//	e, err := swarm.New(swarm.Config{Host: h, Network: id, Takes: takes, Deliver: validate})
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
//	                            frames first, then chunks in pieces    header checked, whole validated
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
//   - A message that the application has no space for is kept and offered again; one that
//     a neighbour has no space for is announced to it again.
//   - Memory grows with what has come, never with what a peer claims, and is bounded by
//     Config.Memory for messages of others and once more for own ones.
//   - Space is shared among the neighbours: what one announces and does not deliver keeps
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
//	512 KiB    0.30   0.32           0.52             1.05              2.3
//	1 MiB      0.24   0.25           0.34             1.07              2.1
//	4 MiB      0.15   0.14           0.16             1.08              2.0
//
// The scheduler alone takes 0.46 s, 0.61 s and 1.49 s in a network of 50 nodes whose lines
// serve their connections in turn and control first, 0.26, 0.18 and 0.12 of pushing there.
// With lines that serve first come first served and windows of connections such as pacing
// has them it takes 0.47 s, 0.59 s and 1.58 s, 0.27, 0.19 and 0.15 of pushing (one
// seed: go test -run TestSimulated -v ./internal/swarm/sched). With 200 nodes it is 0.23,
// 0.15 and 0.09 (go test -run '^$' -bench Simulated -benchtime 1x -v
// ./internal/swarm/sched). At 1 MiB services take 0.68 s (four seeds), against 0.59 s of
// the scheduler alone in lines of their kind. On its way from node to node a chunk waits
// there in the line of the sender and in pacing, for about as long, then behind other
// chunks for the same node, and hardly in the line of the receiver; frames wait in lines,
// too; all else is latency.
//
// Trials with an earlier schedule, which took 0.35, 0.26 and 0.14, and the same command: a
// connection begins with 64 KiB on its way; with 32 KiB the first message took 0.47, 0.36
// and 0.15, with 128 KiB or no bound at all 0.30, 0.23 and 0.14 (two seeds), and a small
// message on a slow line would wait longer than is promised. Less delay by queueing in the
// lowest class (10 ms and an eighth of the round trip) leaves lines idle: 0.86 s in place
// of 0.77 s at 1 MiB; more (40 ms) was faster at 4 MiB only, by a twentieth. With the
// schedule of today, where 1 MiB took 0.70 s (four seeds), a new connection that writes
// all it may at once, in place of over a round trip, took 0.79 s (two seeds).
//
// One budget for all connections of a host would make 1 MiB no faster, and 4 MiB by a
// twentieth at most: with lines that links share, and whose rate is known, the scheduler
// alone takes 0.60 s and 1.52 s in place of 0.59 s and 1.58 s (the rows "shared" of
// TestSimulated).
//
// A message of 1 KiB and high priority that goes to a neighbour while 4 MiB are broadcast
// is 6 ms later on average, not at all in the median, 20 ms at nine of ten, 55 ms at 99 of
// a hundred and 95 ms at most (go test -run TestLargeLeavesSmallAlone -v ./netservice):
// within a connection it passes all chunks, but those that other connections have handed
// to the same line go first. For that one budget for all
// connections of a host would help.
//
// Over TCP on loopback, 1 MiB among 30 services of eight connections on two cores, a node
// receives 1.03 to 1.08 of the size, where go-libp2p-pubsub receives 3.8 to 4.1, and a
// delivery takes 1.2 to 1.3 of its CPU (12 to 14 ms), beside much other load:
//
//	go test -run '^$' -bench LargeLoopback -benchtime 3x ./netservice
//
// Half the CPU is the aim, and is missed: what costs there is writes, not bytes. Beside
// its chunks a node writes, for each delivery, more frames than there are chunks, most of
// them HAVE, and marks; where pieces were of 4 KiB and marked each, it took more than
// twice as much. Tried and of no use: news of chunks up to 20 ms late, to
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
