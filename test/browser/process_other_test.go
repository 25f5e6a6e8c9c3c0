//go:build !linux

package browser

import "syscall"

// dieWithUs: only Linux ties a process to its parent; elsewhere it outlives tests that are killed.
func dieWithUs() *syscall.SysProcAttr { return nil }
