package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

var (
	errBadIfMatch      = errors.New("the If-Match header is malformed")
	errBadIfNoneMatch  = errors.New("the If-None-Match header is malformed")
	errIfMatchRequired = errors.New("the If-Match header is missing")
)

// etag is the strong entity tag of an order's version (RFC 9110, 8.8.3).
func etag(version int) string { return `"` + strconv.Itoa(version) + `"` }

// target names the order that a command is for, at the version that the request's conditions ask for.
func (a *api) target(c *gin.Context, id string) (ports.Target, error) {
	conditions, err := readConditions(c.Request.Header)
	if err != nil {
		return ports.Target{}, err
	}
	match := conditions.match
	switch {
	case match == nil && a.RequireIfMatch:
		return ports.Target{}, errIfMatchRequired
	case conditions.noneMatch != nil: // compared below
	case match == nil || match.any:
		return ports.Target{ID: id}, nil
	case len(match.strong) == 1:
		return ports.Target{ID: id, Version: match.strong[0]}, nil
	}
	// If-Match lists several versions, or If-None-Match excludes some. Load the order: if its version satisfies the
	// conditions, pin the command to it; otherwise use noVersion, which fails with 412. An unknown order is still a 404.
	o, err := a.Orders.Get(c.Request.Context(), id)
	if err != nil {
		return ports.Target{}, err
	}
	if !conditions.met(o.Version()) {
		return ports.Target{ID: id, Version: noVersion}, nil
	}
	return ports.Target{ID: id, Version: o.Version()}, nil
}

// noVersion is a version that no order has. Orders finds the mismatch itself, because this request may be a retry, which
// gets its stored result.
const noVersion = -1

// conditions are the If-Match and If-None-Match of a request; nil where the request has none (RFC 9110, 13.1.1 and
// 13.1.2).
type conditions struct{ match, noneMatch *entityTags }

func readConditions(h http.Header) (conditions, error) {
	match, err := readTags(h, "If-Match", errBadIfMatch)
	if err != nil {
		return conditions{}, err
	}
	noneMatch, err := readTags(h, "If-None-Match", errBadIfNoneMatch)
	return conditions{match, noneMatch}, err
}

func (c conditions) met(version int) bool { return c.matches(version) && !c.excludes(version) }

// matches tells whether If-Match lets a version pass. It compares strongly: a weak tag matches nothing.
func (c conditions) matches(version int) bool {
	return c.match == nil || c.match.any || slices.Contains(c.match.strong, version)
}

// excludes tells whether If-None-Match names a version. It compares weakly.
func (c conditions) excludes(version int) bool {
	n := c.noneMatch
	return n != nil && (n.any || slices.Contains(n.strong, version) || slices.Contains(n.weak, version))
}

// entityTags is the value of If-Match or If-None-Match: "*", or the versions that a list of tags names. A tag that etag
// does not write names no version, nor does an empty list, which RFC 9110 allows.
type entityTags struct {
	any          bool
	strong, weak []int
}

// readTags reads a header that may be given in several fields. Without it there is nothing to read, nil.
func readTags(h http.Header, name string, malformed error) (*entityTags, error) {
	fields := h.Values(name)
	if len(fields) == 0 {
		return nil, nil
	}
	tags, ok := parseTags(strings.Join(fields, ","))
	if !ok {
		return nil, malformed
	}
	return &tags, nil
}

func parseTags(value string) (tags entityTags, ok bool) {
	const space = " \t"
	rest := strings.Trim(value, space)
	if rest == "*" {
		return entityTags{any: true}, true
	}
	for rest != "" {
		if rest[0] == ',' { // empty elements of a list are to be ignored (RFC 9110, 5.6.1.2)
			rest = strings.TrimLeft(rest[1:], space)
			continue
		}
		opaque, weak := strings.CutPrefix(rest, "W/")
		if opaque == "" || opaque[0] != '"' {
			return entityTags{}, false
		}
		end := strings.IndexByte(opaque[1:], '"') + 1
		if end == 0 || strings.ContainsFunc(opaque[1:end], notInTag) {
			return entityTags{}, false
		}
		tag := opaque[1:end]
		if version, err := strconv.Atoi(tag); err == nil && version > 0 && strconv.Itoa(version) == tag {
			if weak {
				tags.weak = append(tags.weak, version)
			} else {
				tags.strong = append(tags.strong, version)
			}
		}
		if rest = strings.TrimLeft(opaque[end+1:], space); rest != "" && rest[0] != ',' {
			return entityTags{}, false
		}
	}
	return tags, true
}

func notInTag(r rune) bool { return r <= ' ' || r == 0x7f }
