package netservice

import "github.com/go-nebnet/nebnet/internal/session"

type engineWire struct{ *session.Engine }

func (w engineWire) Accept(string) error { return nil }
func (w engineWire) Refuse(string)       {}
