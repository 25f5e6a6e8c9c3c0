package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hexorders/adapters/httpapi"
)

func TestTheDescriptionIsServedAsItStandsInTheRepository(t *testing.T) {
	want, err := os.ReadFile("../../docs/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	answer := do(newAPI(), "GET /openapi.yaml", nil)
	if answer.Code != 200 || answer.Header().Get("Content-Type") != "application/yaml" || !bytes.Equal(answer.Body.Bytes(), want) {
		t.Errorf("%d, %s, %d bytes, want the %d of docs/api/openapi.yaml", answer.Code,
			answer.Header().Get("Content-Type"), answer.Body.Len(),
			len(want))
	}
}

// The page must load from here and from nowhere else: whatever it names is served, and the browser is told to refuse
// the rest. test/browser watches a browser do it.
func TestThePageLoadsFromHereAlone(t *testing.T) {
	api := newAPI()
	page := do(api, "GET /docs", nil)
	if page.Code != 200 || page.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", page.Code, page.Header().Get("Content-Type"))
	}

	base, _ := url.Parse("http://service.test/docs")
	start := do(api, "GET /docs/start.js", nil).Body.String()
	references := slices.Concat(
		regexp.MustCompile(`(?:src|href|action)="?([^" >]+)`).FindAllStringSubmatch(page.Body.String(), -1),
		regexp.MustCompile(`url: "([^"]+)`).FindAllStringSubmatch(start, -1))
	var loaded []string
	for _, reference := range references {
		at, err := base.Parse(reference[1])
		if err != nil || at.Host != base.Host {
			t.Errorf("the page refers to %s (%v)", reference[1], err)
			continue
		}
		loaded = append(loaded, at.Path)
		if answer := do(api, "GET "+at.Path, nil); answer.Code != 200 || answer.Body.Len() == 0 {
			t.Errorf("%s: %d with %d bytes, want 200", at.Path, answer.Code, answer.Body.Len())
		}
	}
	for _, want := range []string{"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon-32x32.png", "/docs/start.js",
		"/openapi.yaml"} {
		if !slices.Contains(loaded, want) {
			t.Errorf("the page refers to %v, and not to %s", loaded, want)
		}
	}

	policy := map[string]string{}
	for _, directive := range strings.Split(page.Header().Get("Content-Security-Policy"), ";") {
		name, sources, _ := strings.Cut(strings.TrimSpace(directive), " ")
		policy[name] = sources
		for _, source := range strings.Fields(sources) {
			if !slices.Contains([]string{"'none'", "'self'", "'unsafe-inline'", "data:"}, source) {
				t.Errorf("the policy lets %s come from %s", name, source)
			}
		}
	}
	for name, want := range map[string]string{"default-src": "'none'", "script-src": "'self'", "connect-src": "'self'",
		"base-uri": "'none'", "form-action": "'none'"} {
		if policy[name] != want {
			t.Errorf("the policy says %s %q, want %q", name, policy[name], want)
		}
	}
}

func TestThePartsOfThePage(t *testing.T) {
	api := newAPI()
	for path, want := range map[string]struct{ mediaType, has string }{
		"/":                          {"text/html; charset=utf-8", `<a href="docs">`},
		"/openapi.yaml":              {"application/yaml", "openapi: 3.1.1"},
		"/problems":                  {"text/html; charset=utf-8", `href="problems/order-empty"`},
		"/problems/order-empty":      {"text/html; charset=utf-8", "<h1>Order has no items</h1>"},
		"/docs":                      {"text/html; charset=utf-8", `id="swagger-ui"`},
		"/docs/start.css":            {"text/css; charset=utf-8", ".opblock-body"},
		"/docs/start.js":             {"text/javascript; charset=utf-8", "SwaggerUIBundle({"},
		"/docs/swagger-ui-bundle.js": {"text/javascript; charset=utf-8", "SwaggerUIBundle"},
		"/docs/swagger-ui.css":       {"text/css; charset=utf-8", ".swagger-ui"},
		"/docs/favicon-32x32.png":    {"image/png", "\x89PNG"},
	} {
		plain := do(api, "GET "+path, nil)
		if plain.Code != 200 || plain.Header().Get("Content-Type") != want.mediaType || !strings.Contains(plain.Body.String(), want.has) {
			t.Errorf("%s: %d %v, %d bytes", path, plain.Code, plain.Header(), plain.Body.Len())
		}
		packed := do(api, "GET "+path, map[string]string{"Accept-Encoding": "br, gzip"})
		tag, packedTag := plain.Header().Get("ETag"), packed.Header().Get("ETag")
		if packed.Header().Get("Content-Encoding") == "gzip" {
			reader, err := gzip.NewReader(packed.Body)
			if err != nil {
				t.Fatal(err)
			}
			unpacked, err := io.ReadAll(reader)
			if err != nil || string(unpacked) != plain.Body.String() || packed.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: compressed it is another (%v), Vary %q", path, err, packed.Header().Get("Vary"))
			}
			if tag == packedTag {
				t.Errorf("%s: it has the ETag %s as it is and compressed", path, tag)
			}
		} else if plain.Body.Len() > 2_000 {
			t.Errorf("%s: %d bytes are not compressed", path, plain.Body.Len())
		}
		for known, status := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
			again := do(api, "GET "+path, map[string]string{"If-None-Match": known})
			if again.Code != status || again.Header().Get("ETag") != tag || status == 304 && again.Body.Len() > 0 {
				t.Errorf("%s for a client that has %s: %d %v, %d bytes, want %d", path, known, again.Code, again.Header(),
					again.Body.Len(), status)
			}
		}
		if again := do(api, "GET "+path, map[string]string{"If-None-Match": packedTag, "Accept-Encoding": "gzip"}); again.Code != 304 {
			t.Errorf("%s for a client that has it compressed: %d, want 304", path, again.Code)
		}
	}
	for _, path := range []string{"/docs/index.html", "/docs/swagger-ui.css.gz", "/docs/..%2Fdocs.go"} {
		if answer := do(api, "GET "+path, nil); answer.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, answer.Code)
		}
	}
	if answer := do(api, "GET /docs/", nil); answer.Code != 308 || answer.Header().Get("Location") != "../docs" {
		t.Errorf("/docs/: %d %v, want 308 to ../docs", answer.Code, answer.Header())
	}
}

func TestAFileIsCompressedForThoseThatTakeIt(t *testing.T) {
	api := newAPI()
	for accepted, want := range map[string]string{
		"gzip": "gzip", "GZIP": "gzip", "br, gzip;q=0.5": "gzip", "*": "gzip", "br;q=1, *;q=0.1": "gzip", "gzip; q=1": "gzip",
		"": "", "br": "", "gzip;q=0": "", "gzip; q=0.000": "", "*;q=0": "", "gzip;q=0, *": "", "identity": "", "gzip;q=x": "", "xgzip": "",
	} {
		answer := do(api, "GET /openapi.yaml", map[string]string{"Accept-Encoding": accepted})
		if got := answer.Header().Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding: %s: Content-Encoding %q, want %q", accepted, got, want)
		}
	}
}

// The start page links to what is there.
func TestTheStartPage(t *testing.T) {
	console := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for name, o := range map[string]httpapi.Options{
		"docs openapi.yaml problems console/ livez readyz metrics": {Orders: &fakeOrders{}, Console: console, Metrics: oneMetric},
		"docs openapi.yaml problems livez readyz":                  {Orders: &fakeOrders{}},
		"problems console/ livez readyz":                           {Console: console},
	} {
		o.Logger = slog.New(slog.DiscardHandler)
		api := httpapi.New(o)
		page := do(api, "GET /", nil)
		var links []string
		for _, link := range regexp.MustCompile(`href="([^"]+)`).FindAllStringSubmatch(page.Body.String(), -1) {
			links = append(links, link[1])
			answer := httptest.NewRecorder() // what the console says is not described
			if api.ServeHTTP(answer, httptest.NewRequest("GET", "/"+link[1], nil)); answer.Code != 200 {
				t.Errorf("%s: the link to %s: %d", name, link[1], answer.Code)
			}
		}
		if page.Code != 200 || strings.Join(links, " ") != name {
			t.Errorf("%d, links to %q, want %s", page.Code, links, name)
		}
	}
}
