//go:build !unix

package p2phost

// descriptors: no limit of that kind here.
func descriptors() int { return 1 << 16 }
