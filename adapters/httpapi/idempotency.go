package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

var errBadKey = errors.New("the Idempotency-Key header is malformed")

// idempotencyKey reads the request's Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), the zero value when it
// has none. Every command takes one: PUT and DELETE can be sent again anyway, but with a key they also get the first
// response.
func idempotencyKey(c *gin.Context, body []byte) (ports.IdempotencyKey, error) {
	header := c.Request.Header.Values("Idempotency-Key")
	if len(header) == 0 {
		return ports.IdempotencyKey{}, nil
	}
	key, err := parseKey(header)
	if err != nil {
		return ports.IdempotencyKey{}, err
	}
	fingerprint, err := fingerprint(c.Request.Method, c.Request.URL.EscapedPath(), body)
	return ports.IdempotencyKey{Value: key, Fingerprint: fingerprint}, err
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

// fingerprint is of what a request asks for. The order of a body's fields, the space between them, the spelling of a
// number and {} for no body change nothing, and neither does If-Match: a client who has lost an answer may have read the
// order since.
func fingerprint(method, path string, body []byte) (string, error) {
	content := any(map[string]any{})
	if len(body) > 0 {
		if json.Unmarshal(body, &content) != nil {
			content = string(body) // it is JSON, but has a number that no float holds
		}
	}
	canonical, err := json.Marshal([]any{method, path, content})
	if err != nil {
		return "", fmt.Errorf("fingerprint of the request: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}
