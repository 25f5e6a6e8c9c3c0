package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
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
// the rest. `make docs-in-chromium` watches a browser do it.
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
	for file, want := range map[string]struct{ mediaType, has string }{
		"start.js":             {"text/javascript; charset=utf-8", "SwaggerUIBundle({"},
		"swagger-ui-bundle.js": {"text/javascript; charset=utf-8", "SwaggerUIBundle"},
		"swagger-ui.css":       {"text/css; charset=utf-8", ".swagger-ui"},
		"favicon-32x32.png":    {"image/png", "\x89PNG"},
	} {
		plain := do(api, "GET /docs/"+file, nil)
		if plain.Code != 200 || plain.Header().Get("Content-Type") != want.mediaType || !strings.Contains(plain.Body.String(), want.has) {
			t.Errorf("%s: %d %v, %d bytes", file, plain.Code, plain.Header(), plain.Body.Len())
		}
		packed := do(api, "GET /docs/"+file, map[string]string{"Accept-Encoding": "br, gzip"})
		if packed.Header().Get("Content-Encoding") == "gzip" {
			reader, err := gzip.NewReader(packed.Body)
			if err != nil {
				t.Fatal(err)
			}
			unpacked, err := io.ReadAll(reader)
			if err != nil || string(unpacked) != plain.Body.String() || packed.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: compressed it is another (%v), Vary %q", file, err, packed.Header().Get("Vary"))
			}
		} else if plain.Body.Len() > 100_000 {
			t.Errorf("%s: %d bytes are not compressed", file, plain.Body.Len())
		}
	}
	for _, path := range []string{"/docs/", "/docs/index.html", "/docs/swagger-ui.css.gz", "/docs/..%2Fdocs.go"} {
		if answer := do(api, "GET "+path, nil); answer.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, answer.Code)
		}
	}
}
