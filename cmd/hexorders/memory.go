package main

import "github.com/KimMachineGun/automemlimit/memlimit"

// limitMemory tells the garbage collector how much memory the container has: near the limit it collects more often, where
// the process would otherwise be killed. GOMEMLIMIT in the environment wins. Outside of a container there is no limit, and
// a limit that cannot be read is none.
func limitMemory(limit memlimit.Provider) { _, _ = memlimit.Set(memlimit.WithProvider(limit)) }
