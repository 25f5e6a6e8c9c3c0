package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"
	jsonv2 "github.com/go-json-experiment/json"

	"hexorders/ports"
)

var errBadKey = errors.New("the Idempotency-Key header is malformed")

// idempotencyKey reads the request's Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), the zero value when it
// has none. Every command takes one: PUT and DELETE can be sent again anyway, but with a key they also get the first
// response. body is the decoded body, defaults is what it was before.
func idempotencyKey(c *gin.Context, body, defaults any) (ports.IdempotencyKey, error) {
	header := c.Request.Header.Values("Idempotency-Key")
	if len(header) == 0 {
		return ports.IdempotencyKey{}, nil
	}
	value, err := parseKey(header)
	if err != nil {
		return ports.IdempotencyKey{}, err
	}
	fingerprint, err := fingerprint(c.Request.Method, canonicalPath(c.Request.URL.EscapedPath()), body, defaults)
	if err != nil {
		return ports.IdempotencyKey{}, fmt.Errorf("fingerprint of the request: %w", err)
	}
	return ports.IdempotencyKey{Value: value, Fingerprint: fingerprint}, nil
}

// The draft wants a string of RFC 8941, which has quotes. Most clients leave them out, and mean the same key.
var keyForm = regexp.MustCompile(`^("?)([!#-\[\]-~]{1,255})("?)$`)

func parseKey(header []string) (string, error) {
	if len(header) != 1 {
		return "", errBadKey
	}
	parts := keyForm.FindStringSubmatch(header[0])
	if parts == nil || parts[1] != parts[3] {
		return "", errBadKey
	}
	return parts[2], nil
}

// fingerprint hashes what a request asks for, not how it is written: the order of fields, white space, the spelling of a
// number, a default that is written out, how the path is escaped, and {} instead of no body make no difference. If-Match
// makes none either: a client that got no response may have read the order since.
//
// Stores keep fingerprints for a day, so a change of the form makes retries fail that come right after an upgrade.
func fingerprint(method, path string, body, defaults any) (string, error) {
	content, err := fieldsOf(body)
	if err != nil {
		return "", err
	}
	implied, err := fieldsOf(defaults)
	if err != nil {
		return "", err
	}
	maps.DeleteFunc(content, func(field string, value any) bool { return reflect.DeepEqual(value, implied[field]) })
	canonical, err := json.Marshal([]any{method, path, content}) // with sorted fields
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// canonicalPath escapes each part of a path in the one way of url.PathEscape: proxies escape more, or less.
func canonicalPath(escaped string) string {
	parts := strings.Split(escaped, "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil {
			parts[i] = url.PathEscape(plain)
		}
	}
	return strings.Join(parts, "/")
}

// fieldsOf returns a body's fields by their JSON names. A nil list is an empty one.
func fieldsOf(body any) (fields map[string]any, err error) {
	text, err := jsonv2.Marshal(body)
	if err != nil {
		return nil, err
	}
	return fields, json.Unmarshal(text, &fields)
}
