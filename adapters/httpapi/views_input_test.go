package httpapi

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

// Whatever list a client asked for, the address of its next page asks for the same list.
func FuzzOrdersQuery(f *testing.F) {
	for _, seed := range []string{"", "buyerId=1", "buyerId=1&limit=2&cursor=x", "buyerId=1&status=paid&sort=-updatedAt", "status=paid",
		"limit=0", "%zz", "buyerId=%ff", "a;b", "buyerId=+", "statuss=paid", "cursor=", "limit=03", "atLeastVersion=o/1"} {
		f.Add(seed)
	}
	read := func(raw string) (ports.Query, url.Values, error) {
		query, err := parseQuery(raw, []string{"buyerId", "status", "sort", "limit", "cursor", atLeastVersion})
		if err != nil {
			return ports.Query{}, nil, err
		}
		q, err := parseOrdersQuery(query)
		return q, query, err
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, query, err := read(raw)
		if err != nil {
			if !errors.Is(err, errInvalidQuery) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		linkNext(c, "/orders", query, "next")
		link, isNext := strings.CutSuffix(c.Writer.Header().Get("Link"), `>; rel="next"`)
		link, isPath := strings.CutPrefix(link, "</orders?")
		following, _, err := read(link)
		if q.Page.Cursor = "next"; err != nil || following != q || !isNext || !isPath {
			t.Fatalf("%q: the next page asks for %v (%v), want %v", raw, following, err, q)
		}
	})
}
