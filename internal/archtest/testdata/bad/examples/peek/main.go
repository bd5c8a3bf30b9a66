package main

import _ "github.com/go-nebnet/nebnet/internal/obs"

func init() {}

func main() { panic("a program may") }
