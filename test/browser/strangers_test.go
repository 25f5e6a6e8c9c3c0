package browser

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A page of another origin sends commands in each way that needs no leave. The order stays as it is.
func TestAPageOfAStrangerChangesNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"HEXORDERS_STORE": "memory"})
	address := strings.TrimPrefix(s.url, "http://")
	for name, script := range map[string]string{
		"fetch":  `fetch(url, {method: "POST", mode: "no-cors"}).finally(() => document.title = "done")`,
		"beacon": `navigator.sendBeacon(url) || fail; setTimeout(() => document.title = "done", 1000)`,
		"form": `const f = document.createElement("form"), i = document.createElement("iframe"); i.name = "i"; document.body.append(i, f);
			i.onload = () => document.title = "done"; f.target = "i"; f.method = "post"; f.action = url; f.submit()`,
	} {
		t.Run(name, func(t *testing.T) {
			id := s.create("9999").ID
			page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `<!doctype html><title>page</title><body><script>const url = "http://`+address+
					`/orders/`+id+`/pay"; `+script+`</script>`)
			}))
			defer page.Close()
			ctx := open(t)
			visit(ctx, t, page.URL)
			waitFor(ctx, t, `document.title == "done"`)
			shoot(ctx, t, "sent")
			if o := call[orderJSON](s, "GET", "/orders/"+id, ""); o.Status != "pending" {
				t.Errorf("after the page was open the order is %s", o.Status)
			}
		})
	}
}

// A stranger's host name that now is the address of this machine: the browser takes the service for the stranger's.
func TestAReboundNameReadsNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"HEXORDERS_STORE": "memory"})
	address := strings.TrimPrefix(s.url, "http://")
	id := s.create("9999").ID
	s.inViews(orderJSON{ID: id, Version: 1})
	_, port, _ := strings.Cut(address, ":")
	ctx := open(t)
	for path, secret := range map[string]string{"/orders/" + id: "9999", "/orders?buyerId=9999": "1111", "/docs": "swagger-ui-bundle.js",
		"/console/": "main.js", "/console/state": `"roles"`, "/console/orders/" + id: `"readModel"`} {
		visit(ctx, t, "http://rebound.example:"+port+path)
		text := evaluate(ctx, t, "document.documentElement.outerHTML")
		shoot(ctx, t, "read")
		if strings.Contains(text, secret) || !strings.Contains(text, "unknown-host") {
			t.Errorf("rebound.example%s shows %s", path, text)
		}
		visit(ctx, t, "http://localhost:"+port+path)
		if text = evaluate(ctx, t, "document.documentElement.outerHTML"); !strings.Contains(text, secret) {
			t.Errorf("localhost%s shows %s", path, text)
		}
	}
}
