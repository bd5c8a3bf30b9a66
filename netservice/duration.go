package netservice

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that reads and writes as text such as "30s" in
// YAML, JSON and TOML alike.
type Duration time.Duration

// MarshalText writes the duration as time.Duration.String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: %w", text, err)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration as time.Duration.String does.
func (d Duration) String() string { return time.Duration(d).String() }

func timeout(d Duration) time.Duration { return time.Duration(d) }
