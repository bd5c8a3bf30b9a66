//go:build !unix

package main

import "os"

// statusSignal does not exist here; -status prints the table.
var statusSignal os.Signal
