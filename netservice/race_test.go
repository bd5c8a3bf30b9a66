//go:build race

package netservice_test

const raceEnabled = true
