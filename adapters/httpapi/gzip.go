package httpapi

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// gzipFrom is how many bytes an answer has that is worth compressing.
const gzipFrom = 4 << 10

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for a level that does not exist
	return w
}}

// compressed is a large body as the client takes it. An answer with an ETag is left as it is: its strong tag is that of
// these bytes (RFC 9110, 8.8.3.3), and clients send it back in If-Match.
func compressed(c *gin.Context, body []byte) []byte {
	if len(body) < gzipFrom || c.Writer.Header().Get("ETag") != "" {
		return body
	}
	c.Writer.Header().Add("Vary", "Accept-Encoding")
	if !acceptsGzip(c.Request.Header) {
		return body
	}
	var small bytes.Buffer
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	w.Reset(&small)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	c.Header("Content-Encoding", "gzip")
	return small.Bytes()
}

// acceptsGzip tells whether a client takes an answer that is compressed (RFC 9110, 12.5.3). The weight 0 means that it does
// not; * stands for the encodings that are not named.
func acceptsGzip(h http.Header) bool {
	others := false
	for _, element := range listed(h, "Accept-Encoding") {
		coding, weight, _ := strings.Cut(element, ";")
		_, q, weighted := strings.Cut(strings.ReplaceAll(weight, " ", ""), "=")
		wanted := true
		if weighted {
			number, err := strconv.ParseFloat(q, 64)
			wanted = err == nil && number > 0
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip":
			return wanted
		case "*":
			others = wanted
		}
	}
	return others
}

// listed is the elements of a header that is a list without commas in its elements.
func listed(h http.Header, name string) []string {
	elements := strings.Split(strings.Join(h.Values(name), ","), ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}
