package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// announcer is a Subscriber type of this program's own: it writes a line for
// every block. Deliver runs on the dispatcher's loop and must not block, so a
// program that writes to something slow would use dispatcher.NewHandler.
type announcer struct {
	w     io.Writer
	count atomic.Int64
}

func (a *announcer) ID() any                          { return a }
func (a *announcer) MessageType() string              { return newBlock.Name() }
func (a *announcer) DoFilter() bool                   { return true }
func (a *announcer) Weight() dispatcher.MessageWeight { return 1 }

// Deliver takes every message.
func (a *announcer) Deliver(m dispatcher.Message) bool {
	var b block
	if json.Unmarshal(m.Data(), &b) == nil {
		a.count.Add(1)
		fmt.Fprintf(a.w, "node 5 got block %d of %s from %s\n", b.Height, b.Miner, short(m.MessageFrom()))
	}
	return true
}

// short is the end of a peer ID, which is where IDs differ.
func short(id string) string {
	if len(id) > 8 {
		return "…" + id[len(id)-8:]
	}
	return id
}
