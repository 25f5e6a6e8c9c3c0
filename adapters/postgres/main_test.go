package postgres

import (
	"testing"

	"go.uber.org/goleak"

	"hexorders/adapters/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSchema is the URI of a new, empty schema on the server of the tests.
func newSchema(t testing.TB) string { return postgrestest.Schema(t) }
