//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptors is the number of files and connections that this process may have open. Go has raised it to the hard limit.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt
	}
	return int(min(limit.Cur, math.MaxInt32))
}
