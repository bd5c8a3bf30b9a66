package listener

import (
	"errors"
	"net"
	"testing"
)

// An Info that came from no Registry is closed.
func TestZeroInfo(t *testing.T) {
	var i Info
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if n := len(i.CloseStreams()) + len(i.Running()); n != 0 {
		t.Errorf("%d streams", n)
	}
	if !errors.Is(i.Err(), net.ErrClosed) || i.Now().ID != 0 {
		t.Errorf("Err %v", i.Err())
	}
	<-i.Done()
}
