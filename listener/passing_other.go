//go:build !unix

package listener

var passing []error
