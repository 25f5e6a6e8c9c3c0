package main

import (
	"errors"
	"math"
	"os"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestTheMemoryOfTheContainerIsTheLimit(t *testing.T) {
	const gib = 1 << 30
	for name, test := range map[string]struct {
		container memlimit.Provider
		setting   string
		want      int64
	}{
		"a container":    {memlimit.Limit(gib), "", gib * 9 / 10},
		"a setting":      {memlimit.Limit(gib), "5GiB", math.MaxInt64},
		"no limit":       {func() (uint64, error) { return 0, memlimit.ErrNoLimit }, "", math.MaxInt64},
		"unknown limits": {func() (uint64, error) { return 0, errors.New("no cgroup") }, "", math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			before := debug.SetMemoryLimit(math.MaxInt64)
			defer debug.SetMemoryLimit(before)
			t.Setenv("GOMEMLIMIT", test.setting) // restores it afterwards
			if test.setting == "" {
				os.Unsetenv("GOMEMLIMIT")
			}
			limitMemory(test.container)
			// The runtime reads the setting when the process starts, not here.
			if got := debug.SetMemoryLimit(-1); got != test.want {
				t.Errorf("the limit is %d bytes, want %d", got, test.want)
			}
		})
	}
}
