//go:build !race

package netservice_test

const raceEnabled = false
