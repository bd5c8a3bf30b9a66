package obs

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/gologshim"
	"go.uber.org/goleak"
)

// childEnv makes the test binary log as a program that has services at times.
const childEnv = "OBS_TEST_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		child(part)
		return
	}
	goleak.VerifyTestMain(m)
}

func child(part string) {
	if part == "program" {
		gologshim.SetDefaultHandler(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	early, late := gologshim.Logger("early"), gologshim.Logger("late")
	a, _ := logged()
	b, _ := logged()
	for round := range 2 {
		detachA, detachB := a.BridgeLibp2p(), b.BridgeLibp2p()
		early.Error("with two", "round", round)
		detachB()
		early.Error("with one", "round", round)
		detachA()
		early.With("k", "v").WithGroup("g").Error("with none", "round", round)
	}
	late.Info("info of late")
	late.Warn("warning of late")
	early.Info("info of early")
	early.Warn("warning of early")
}

// After the last service libp2p's lines go where they went before the first: to
// libp2p's own handler with its levels, or to that of the program.
func TestBridgeGivesBack(t *testing.T) {
	for part, want := range map[string][]string{
		"own": {"with none", "with none", "warning of late"},
		"program": {"with none", "with none", "info of late", "warning of late", "info of early",
			"warning of early"},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+part, "GOLOG_LOG_LEVEL=error,late=warn", "GOLOG_LOG_FORMAT=json",
			"GOLOG_LOG_LABELS=label=one")
		var own strings.Builder
		cmd.Stderr = &own
		program, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		text := own.String()
		if part == "program" {
			if text != "" {
				t.Errorf("%s: on standard error: %s", part, text)
			}
			text = string(program)
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if len(lines) != len(want) {
			t.Errorf("%s: %d lines, want %d:\n%s", part, len(lines), len(want), text)
			continue
		}
		for i, line := range lines {
			if !strings.Contains(line, want[i]) || strings.Count(line, `"label":"one"`) != 1 {
				t.Errorf("%s: line %d: %s, want %q", part, i, line, want[i])
			}
		}
		if !strings.Contains(lines[0], `"logger":"early"`) || !strings.Contains(lines[0], `"k":"v","g":{"round":0}`) {
			t.Errorf("%s: %s", part, lines[0])
		}
	}
}
