package netservice_test

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/test"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/go-nebnet/nebnet/netservice"
)

// warnings is a logrus hook.
type warnings chan *logrus.Entry

func (warnings) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel} }

func (w warnings) Fire(e *logrus.Entry) error {
	select {
	case w <- e:
	default: // one is enough
	}
	return nil
}

// A boot node that has lost its key is a warning that names who answers.
func TestOtherPeerAtBootNodeIsLogged(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) {
			cfg := netservice.Config{ChainID: "test", Listen: []string{listen}}
			boot := start(t, cfg)
			answers := boot.Node().ID().String()
			lost, err := test.RandPeerID()
			if err != nil {
				t.Fatal(err)
			}
			cfg.Bootstrap = []string{strings.Replace(boot.Node().Addrs()[0].String(), answers, lost.String(), 1)}
			log, _ := logtest.NewNullLogger()
			warned := make(warnings, 1)
			log.AddHook(warned)
			s, err := netservice.NewNebService(cfg, netservice.WithLogger(log))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			if e := next(t, "warning", warned); e.Data["peer"] != lost.String() || e.Data["answers"] != answers {
				t.Errorf("%s: %v", e.Message, e.Data)
			} else {
				t.Log(e.Message, e.Data)
			}
		})
	}
}
