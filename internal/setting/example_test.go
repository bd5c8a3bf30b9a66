package setting_test

import (
	"fmt"
	"time"

	"github.com/go-nebnet/nebnet/internal/setting"
)

func ExampleCheck() {
	c := struct {
		Network string
		Timeout time.Duration
	}{Timeout: -time.Second}
	var check setting.Check
	check.Required("Network", c.Network != "")
	setting.AtLeast(&check, "Timeout", c.Timeout, 0)
	fmt.Println(check.Err())
	// Output:
	// Network is required
	// Timeout is -1s, must be at least 0s
}
