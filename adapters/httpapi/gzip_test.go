package httpapi_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hexorders/ports"
)

func TestLargeAnswersAreCompressed(t *testing.T) {
	row := ports.Row{Key: "1", Body: []byte(`{"id":"` + strings.Repeat("1", 200) + `"}`)}
	few, many := &fakeViews{page: ports.RowPage{Rows: []ports.Row{row}}}, &fakeViews{}
	for range 50 {
		many.page.Rows = append(many.page.Rows, row)
	}
	plain := ask(overViews(many), "GET", "/orders", nil)
	if plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("without Accept-Encoding: headers %v, want no Content-Encoding, and Vary", plain.Header())
	}
	for accept, want := range map[string]string{
		"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "*": "gzip", "br": "", "gzip;q=0": "", "gzip; q=0.0, *": "", "identity": "",
		"": "", "*;q=0": "", "gzip;q=x": "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			header := http.Header{"Accept-Encoding": {accept}}
			got := ask(overViews(many), method, "/orders", header)
			body := io.Reader(got.Body)
			if got.Header().Get("Content-Encoding") != want {
				t.Errorf("%s, Accept-Encoding %q: Content-Encoding %q, want %q", method, accept, got.Header().Get("Content-Encoding"), want)
				continue
			}
			if want == "gzip" && method == http.MethodGet {
				if got.Body.Len() > plain.Body.Len()/10 {
					t.Errorf("Accept-Encoding %q: %d bytes of %d", accept, got.Body.Len(), plain.Body.Len())
				}
				var err error
				if body, err = gzip.NewReader(got.Body); err != nil {
					t.Fatal(err)
				}
			}
			if text, err := io.ReadAll(body); method == http.MethodGet && (err != nil || string(text) != plain.Body.String()) {
				t.Errorf("Accept-Encoding %q: error %v or another body", accept, err)
			}
		}
	}
	small := ask(overViews(few), "GET", "/orders", http.Header{"Accept-Encoding": {"gzip"}})
	if small.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
}

func ask(api http.Handler, method, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, r)
	return answer
}
