//go:build chromium

package browser

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const basket = `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`

func create(t *testing.T, address string) (id string) {
	t.Helper()
	status, answer := send(t, "POST", "http://"+address+"/orders", basket)
	var order struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &order); status != 201 || err != nil {
		t.Fatalf("%d %s: %v", status, answer, err)
	}
	return order.ID
}

// A page of another origin sends commands in each way that needs no leave. The order stays as it is.
func TestAPageOfAStrangerChangesNothing(t *testing.T) {
	address := start(t)
	for name, script := range map[string]string{
		"fetch":  `fetch(url, {method: "POST", mode: "no-cors"}).finally(() => document.title = "done")`,
		"beacon": `navigator.sendBeacon(url) || fail; setTimeout(() => document.title = "done", 1000)`,
		"form": `const f = document.createElement("form"), i = document.createElement("iframe"); i.name = "i"; document.body.append(i, f);
			i.onload = () => document.title = "done"; f.target = "i"; f.method = "post"; f.action = url; f.submit()`,
	} {
		t.Run(name, func(t *testing.T) {
			id := create(t, address)
			page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `<!doctype html><title>page</title><body><script>const url = "http://`+address+
					`/orders/`+id+`/pay"; `+script+`</script>`)
			}))
			defer page.Close()
			ctx := open(t)
			visit(ctx, t, page.URL)
			waitFor(ctx, t, `document.title == "done"`)
			shoot(ctx, t, "sent")
			status, answer := send(t, "GET", "http://"+address+"/orders/"+id, "")
			if status != 200 || !strings.Contains(answer, `"status":"pending"`) {
				t.Errorf("after the page was open the order is %s", answer)
			}
		})
	}
}

// A stranger's host name that now is the address of this machine: the browser takes the service for the stranger's.
func TestAReboundNameReadsNothing(t *testing.T) {
	address := start(t)
	id := create(t, address)
	_, port, _ := strings.Cut(address, ":")
	ctx := open(t)
	for path, secret := range map[string]string{"/orders/" + id: "9999", "/orders?buyerId=9999": "1111", "/docs": "swagger-ui-bundle.js"} {
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
