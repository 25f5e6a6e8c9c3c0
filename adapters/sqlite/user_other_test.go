//go:build !linux

package sqlite

import (
	"os"
	"testing"
)

func asOrdinaryUser(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Fatal("run this test as an ordinary user: root may do everything")
	}
	f()
}
