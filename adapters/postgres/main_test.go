package postgres

import (
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"hexorders/adapters/postgres/postgrestest"
	"hexorders/ports/porttest/cable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSchema is the URI of a new, empty schema on the server of the tests.
func newSchema(t testing.TB) string { return postgrestest.Schema(t) }

// cabled is a URI that leads to the same place through a cable that the test can cut.
func cabled(t testing.TB, uri string) (string, *cable.Cable) {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	c := cable.To(t, parsed.Host)
	parsed.Host = c.Address()
	return parsed.String(), c
}
