//go:build !unix

package main

import "math"

// descriptors is the number of files and connections that this process may have open: this system sets no limit.
func descriptors() int { return math.MaxInt }
