package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hexorders/ports"
)

func TestADeletedOrReplacedFileIsUnavailable(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string) error{
		"deleted": func(_ *testing.T, path string) error { return os.Remove(path) },
		"moved":   func(_ *testing.T, path string) error { return os.Rename(path, path+".old") },
		"replaced": func(t *testing.T, path string) error {
			other := filepath.Join(t.TempDir(), "other.db")
			closeNow(t, openAt(t, other))
			return os.Rename(other, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "orders.db")
			db := openAt(t, path)
			save(t, db, newOrder(t, "order-1"))
			if err := spoil(t, path); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"ping": db.Ping(t.Context()),
				"save": NewStore(db).Save(t.Context(), newOrder(t, "order-2"), ports.IdempotencyKey{}),
			} {
				if !errors.Is(err, ErrFileGone) || !errors.Is(err, ports.ErrUnavailable) {
					t.Errorf("%s: got error %v, want %v and %v", what, err, ErrFileGone, ports.ErrUnavailable)
				}
			}
		})
	}
}

func TestAFileThatIsPutBackIsAvailable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	for _, rename := range [][2]string{{path, path + ".old"}, {path + ".old", path}} {
		if err := os.Rename(rename[0], rename[1]); err != nil {
			t.Fatal(err)
		}
	}
	save(t, db, newOrder(t, "order-1"))
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}
