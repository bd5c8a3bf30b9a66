package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

const (
	sendTimeout = 5 * time.Second
	maxText     = 1 << 20
	maxLine     = maxText + 4<<10
	maxFile     = 64 << 20
)

// command is one word of standard input: its arguments as the user sees them,
// how many there are (the last one takes the rest of the line), and its deed.
type command struct {
	name, args, help string
	fields           int
	do               func(ctx context.Context, svc *netservice.NebService, out *printer, arg []string) error
}

func commands() []command {
	return append([]command{
		{"send", "PEER TYPE [TEXT]", "send TEXT to one peer; the last letters of its ID are enough", 3, send},
		{"broadcast", "TYPE [TEXT]", "send TEXT to the whole network", 2, broadcast},
		{"broadcast-file", "TYPE PATH", "send a file to the whole network, up to the maximum of TYPE (1 MiB)", 2, broadcastFile},
		{"peers", "", "list the peers", 0, listPeers},
		{"stats", "", "show what was sent, received and lost", 0, showStats},
		{"close", "PEER", "end the session with a peer", 1, closePeer},
		{"quit", "", "stop the node", 0, nil},
		{"help", "", "show this list", 0, help},
	}, operating()...)
}

// execute runs one line of input, and returns false when the node is to stop.
func execute(ctx context.Context, svc *netservice.NebService, out *printer, line string) bool {
	name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if name == "" {
		return true
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		arg := split(rest, c.fields)
		for optional := strings.Count(c.args, "["); optional > 0 && len(arg) < c.fields; optional-- {
			arg = append(arg, "")
		}
		if len(arg) != c.fields || c.fields == 0 && strings.TrimSpace(rest) != "" {
			out.failed(fmt.Errorf("usage: %s", strings.TrimSpace(c.name+" "+c.args)))
			return true
		}
		if c.do == nil {
			return false
		}
		if err := c.do(ctx, svc, out, arg); err != nil {
			out.failed(err)
		}
		return true
	}
	out.failed(fmt.Errorf("unknown command %q, try help", name))
	return true
}

// split cuts a line into at most n fields, the last of which keeps its spaces.
func split(s string, n int) []string {
	var fields []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if len(fields) == n-1 {
			return append(fields, s)
		}
		f, rest, _ := strings.Cut(s, " ")
		fields, s = append(fields, f), rest
	}
	return fields
}

// scan hands over the lines of r. One that is too long is passed over, and said
// to be: the program goes on.
func scan(r io.Reader, line func(string), tooLong func()) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		text, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if long {
			tooLong()
		} else if len(text) > 0 {
			line(strings.TrimRight(string(text), "\r\n"))
		}
		if err != nil {
			return
		}
	}
}

func send(ctx context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	id, err := findPeer(svc, arg[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := svc.SendMessageToPeer(ctx, arg[1], []byte(arg[2]), id); err != nil {
		return err
	}
	out.done("sent", map[string]any{"to": id, "type": arg[1], "bytes": len(arg[2])})
	return nil
}

func broadcast(ctx context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	if err := svc.Broadcast(ctx, arg[0], []byte(arg[1])); err != nil {
		return err
	}
	out.done("broadcast", map[string]any{"type": arg[0], "bytes": len(arg[1])})
	return nil
}

// broadcastFile sends what a file holds. Above 256 KiB it goes in chunks, and stats tells
// how.
func broadcastFile(ctx context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	// Before it is opened: a pipe that nobody writes to would keep the program from all
	// else, its end included.
	if info, err := os.Stat(arg[1]); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", arg[1])
	}
	f, err := os.Open(arg[1])
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("%s: %w: more than %d bytes", arg[1], netservice.ErrTooLarge, maxFile)
	}
	if err := svc.Broadcast(ctx, arg[0], data); err != nil {
		return err
	}
	out.done("broadcast", map[string]any{"type": arg[0], "bytes": len(data)})
	return nil
}

func listPeers(_ context.Context, svc *netservice.NebService, out *printer, _ []string) error {
	out.peers(svc.Peers())
	return nil
}

func showStats(_ context.Context, svc *netservice.NebService, out *printer, _ []string) error {
	out.stats(svc.Stats())
	return nil
}

func closePeer(_ context.Context, svc *netservice.NebService, out *printer, arg []string) error {
	id, err := findPeer(svc, arg[0])
	if err != nil {
		return err
	}
	return svc.ClosePeer(id, netservice.ReasonRequested)
}

func help(_ context.Context, _ *netservice.NebService, out *printer, _ []string) error {
	out.help(commands())
	return nil
}

// findPeer completes the last letters of a peer ID.
func findPeer(svc *netservice.NebService, end string) (string, error) {
	var found []string
	for _, p := range svc.Peers() {
		if id := p.ID.String(); strings.HasSuffix(id, end) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no peer whose ID ends in %q", end)
	case 1:
		return found[0], nil
	}
	return "", errors.New("several peers match: " + strings.Join(found, " "))
}
