package reqresp

import (
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	_ "github.com/go-nebnet/nebnet/dispatcher"
	_ "github.com/go-nebnet/nebnet/internal/obs"
)

var registry = metrics.DefaultRegistry

func init() {
	logrus.Info("imported")
	prom.MustRegister()
	panic("no")
}

type own struct{}

func (own) init() { logrus.New().Info("a method and a private logger are fine") }

const secret = "neb.net.secret"
