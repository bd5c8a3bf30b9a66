// Package archtest keeps the shape of the module: a test here fails when an
// import runs the wrong way, when library code leans on process-wide state, or
// when a file has grown far beyond one concept.
//
// It reads source files only, so it needs neither the network nor a build.
package archtest
