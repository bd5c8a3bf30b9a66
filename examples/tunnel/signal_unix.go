//go:build unix

package main

import (
	"os"
	"syscall"
)

// statusSignal asks for the table.
var statusSignal os.Signal = syscall.SIGUSR1
