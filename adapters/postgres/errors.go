package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"hexorders/ports"
)

// These errors say what is wrong with the database and what to do.
var (
	ErrURI        = errors.New("this is not a URI of PostgreSQL: write postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full")
	ErrNoDatabase = errors.New("the database does not exist: create it (createdb), or correct the URI")
	ErrNoSchema   = errors.New("this user sees no schema of the search_path: create it (CREATE SCHEMA), let the user in (GRANT USAGE ON " +
		"SCHEMA), or correct search_path in the URI")
	ErrNotAllowed = errors.New("grant the user the rights that docs/secure.md lists")
	ErrPassword   = errors.New("the server refuses this user or password: correct the URI")
	ErrEncoding   = errors.New("the database is not in UTF8: create one that is (createdb --encoding UTF8 --template template0)")
	ErrForeign    = errors.New("the schema has tables of another program: choose another one with search_path in the URI")
	ErrNewer      = errors.New("a newer version of this program has made the tables: use that version, or choose another schema")
)

// PostgreSQL's error codes (SQLSTATE) that this package handles, by the names of its manual, appendix A.
const (
	dataException         = "22" // a class: all codes that begin so
	integrityViolation    = "23" // a class
	invalidPassword       = "28P01"
	invalidAuthorization  = "28000"
	invalidCatalogName    = "3D000"
	invalidSchemaName     = "3F000"
	insufficientPrivilege = "42501"
	mistake               = "42" // a class: a table or a column that is not there, a right that is missing
	undefinedColumn       = "42703"
	undefinedTable        = "42P01"
	duplicateTable        = "42P07"
	diskFull              = "53100"
	programLimitExceeded  = "54" // a class
)

// code is the SQLSTATE of an error, "" when it is not one of the server.
func code(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return ""
	}
	return server.Code
}

func hasCode(err error, codes ...string) bool {
	have := code(err)
	for _, c := range codes {
		if have != "" && strings.HasPrefix(have, c) {
			return true
		}
	}
	return false
}

// isPermanent reports that a statement or its data is at fault: nothing was committed, and another try fails too.
func isPermanent(err error) bool {
	return hasCode(err, dataException, integrityViolation, programLimitExceeded, mistake)
}

// fail adds what was being done, and turns the driver's errors into those of the ports. An error that is not known
// to be another one is ErrUnavailable: a lost connection, a server that shuts down, a commit with an unknown outcome. nil
// stays nil.
func fail(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, translate(ctx, err))
}

// portErrors pass through translate.
var portErrors = []error{ports.ErrNotFound, ports.ErrConflict, ports.ErrDuplicateRequest, ports.ErrFenced, ports.ErrLeaseHeld,
	ports.ErrUnavailable, ports.ErrNotBuilt, ports.ErrBadCursor}

func translate(ctx context.Context, err error) error {
	for _, own := range portErrors {
		if errors.Is(err, own) {
			return err
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err() // the caller's, who knows that the outcome is open
	case hasCode(err, insufficientPrivilege):
		return fmt.Errorf("%w: %w", err, ErrNotAllowed)
	case isPermanent(err):
		return err
	case hasCode(err, diskFull):
		return fmt.Errorf("%w: %w: %s", ports.ErrUnavailable, ports.ErrNoRoom, err.Error())
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, ctx.Err())
	}
	// As text only: an inner deadline that was missed is not the caller's.
	return fmt.Errorf("%w: %s", ports.ErrUnavailable, err.Error())
}

// explainOpen explains an error of Open.
func explainOpen(err error) error {
	switch {
	case hasCode(err, invalidCatalogName):
		return ErrNoDatabase
	case hasCode(err, invalidSchemaName):
		return ErrNoSchema
	case hasCode(err, invalidPassword, invalidAuthorization):
		return fmt.Errorf("%w (%s)", ErrPassword, err.Error())
	case hasCode(err, insufficientPrivilege):
		return fmt.Errorf("%w (%s)", ErrNotAllowed, err.Error())
	case hasCode(err, duplicateTable):
		return ErrForeign
	case errors.Is(err, ErrNoSchema), errors.Is(err, ErrEncoding), errors.Is(err, ErrNewer), errors.Is(err, ErrForeign):
		return err
	}
	return fmt.Errorf("%w: %s", ports.ErrUnavailable, err.Error())
}

// Where names the database of a URI without its user and password.
func Where(uri string) string {
	config, err := parse(uri)
	if err != nil {
		return "PostgreSQL"
	}
	c := config.ConnConfig
	return fmt.Sprintf("PostgreSQL database %q at %s", c.Database, (&url.URL{Host: fmt.Sprintf("%s:%d", c.Host, c.Port)}).Host)
}

// Group names the database and the schema, for those who share a broker with others.
func Group(uri string) string {
	config, err := parse(uri)
	if err != nil {
		return ""
	}
	if path := config.ConnConfig.RuntimeParams["search_path"]; path != "" {
		return config.ConnConfig.Database + "." + path
	}
	return config.ConnConfig.Database
}

// CheckURI reports whether the text is a URI of PostgreSQL. Error: ErrURI.
func CheckURI(uri string) error {
	_, err := parse(uri)
	return err
}
