package httpapi

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

var errBadIfMatch = errors.New("the If-Match header is malformed")

// etag is the strong entity tag of an order's version (RFC 9110, 8.8.3).
func etag(version int) string { return `"` + strconv.Itoa(version) + `"` }

// target names the order that a command is for, at the version that If-Match asks for.
func (a *api) target(c *gin.Context, id string) (ports.Target, error) {
	header := c.Request.Header.Values("If-Match")
	if len(header) == 0 {
		return ports.Target{ID: id}, nil
	}
	versions, anyVersion, err := parseIfMatch(strings.Join(header, ","))
	switch {
	case err != nil:
		return ports.Target{}, err
	case anyVersion:
		return ports.Target{ID: id}, nil
	case len(versions) == 1:
		return ports.Target{ID: id, Version: versions[0]}, nil
	}
	// Several versions will do, or none at all. The order's own is the one to hold on to if it is among them; an
	// order that is not there is a 404 all the same.
	o, err := a.Orders.Get(c.Request.Context(), id)
	if err != nil {
		return ports.Target{}, err
	}
	if !slices.Contains(versions, o.Version()) {
		return ports.Target{ID: id, Version: noVersion}, nil
	}
	return ports.Target{ID: id, Version: o.Version()}, nil
}

// noVersion is one that no order has. That the order is not at it is for Orders to find out: it may be because this
// request comes a second time.
const noVersion = -1

// parseIfMatch reads the header's value: "*", or a list of entity tags (RFC 9110, 13.1.1). versions are those that
// the tags name; a weak tag names none, because If-Match compares strongly, and neither does a tag that etag would
// not have written.
func parseIfMatch(value string) (versions []int, anyVersion bool, err error) {
	const space = " \t"
	rest := strings.Trim(value, space)
	if rest == "*" {
		return nil, true, nil
	}
	tags := 0
	for rest != "" {
		if rest[0] == ',' { // empty elements of a list are to be ignored (RFC 9110, 5.6.1.2)
			rest = strings.TrimLeft(rest[1:], space)
			continue
		}
		opaque, weak := strings.CutPrefix(rest, "W/")
		if opaque == "" || opaque[0] != '"' {
			return nil, false, errBadIfMatch
		}
		end := strings.IndexByte(opaque[1:], '"') + 1
		if end == 0 || strings.ContainsFunc(opaque[1:end], notInTag) {
			return nil, false, errBadIfMatch
		}
		tag := opaque[1:end]
		if version, err := strconv.Atoi(tag); err == nil && !weak && version > 0 && strconv.Itoa(version) == tag {
			versions = append(versions, version)
		}
		tags++
		if rest = strings.TrimLeft(opaque[end+1:], space); rest != "" && rest[0] != ',' {
			return nil, false, errBadIfMatch
		}
	}
	if tags == 0 {
		return nil, false, errBadIfMatch
	}
	return versions, false, nil
}

func notInTag(r rune) bool { return r <= ' ' || r == 0x7f }
