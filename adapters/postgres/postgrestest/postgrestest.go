// Package postgrestest gives tests a schema of their own on a real PostgreSQL.
package postgrestest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// URI names the server that the tests run against.
func URI() string {
	if uri := os.Getenv("HEXORDERS_TEST_POSTGRES_URI"); uri != "" {
		return uri
	}
	return "postgres://127.0.0.1:5432/hexorders?user=hexorders"
}

// With sets a parameter of a URI.
func With(t testing.TB, uri, parameter, value string) string {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	parameters := parsed.Query()
	parameters.Set(parameter, value)
	parsed.RawQuery = parameters.Encode()
	return parsed.String()
}

// Schema makes a schema, which is gone when the test is over, and returns the URI that leads to it.
func Schema(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text()[:12])
	Execute(t, URI(), "CREATE SCHEMA "+name)
	t.Cleanup(func() { Execute(t, URI(), "DROP SCHEMA "+name+" CASCADE") })
	return With(t, URI(), "search_path", name)
}

// Execute runs a statement on a connection of its own.
func Execute(t testing.TB, uri, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, uri)
	if err != nil {
		t.Fatalf("%v\nThese tests need PostgreSQL: run scripts/services up postgres", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
