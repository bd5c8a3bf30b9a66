package setting

import (
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	var c Check
	if err := c.Err(); err != nil {
		t.Errorf("nothing is wrong: %v", err)
	}
	c.Required("Host", true)
	c.Required("Network", false)
	AtLeast(&c, "Timeout", time.Second, time.Second)
	AtLeast(&c, "Queue", -1, 0)
	AtLeast(&c, "Share", math.NaN(), 0)
	c.Bad("File", "cannot be read: %w", io.EOF)
	err := c.Err()
	const want = "Network is required\nQueue is -1, must be at least 0\nShare is NaN, must be at least 0\nFile cannot be read: EOF"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Field != "Network" || !errors.Is(err, io.EOF) {
		t.Errorf("%v hides its parts", err)
	}
}

func TestDefault(t *testing.T) {
	n, s := 0, "set"
	Default(&n, 7)
	Default(&s, "other")
	if n != 7 || s != "set" {
		t.Error(n, s)
	}
}
