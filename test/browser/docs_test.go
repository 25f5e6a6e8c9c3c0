package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	description "hexorders/docs/api"
)

// Somebody tries the API out on its page, from an order's creation to the list of what was paid. They type only the id of
// the order, where nothing stands yet; every field that is filled in stays as it is.
func TestTheApiCanBeTriedOut(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"HEXORDERS_STORE": "memory"})
	ctx := open(t)
	visit(ctx, t, s.url+"/docs")

	created := tryOut(ctx, t, "createOrder", nil, 201)
	id := created.ID
	added := tryOut(ctx, t, "addItem", map[string]string{"id": id}, 200)
	if added.Version != 2 || len(added.Items) != 2 {
		t.Errorf("after an item was added the order is %+v", added)
	}
	if submitted := tryOut(ctx, t, "submitOrder", map[string]string{"id": id}, 200); submitted.Status != "submitted" {
		t.Errorf("after it was submitted the order is %+v", submitted)
	}
	if paid := tryOut(ctx, t, "payOrder", map[string]string{"id": id}, 200); paid.Status != "paid" {
		t.Errorf("after it was paid the order is %+v", paid)
	}
	if list := tryOut(ctx, t, "listOrders", nil, 200); len(list.Orders) != 1 || list.Orders[0].ID != id || list.Orders[0].Status != "paid" {
		t.Errorf("the list is %+v", list)
	}
	for _, operation := range []string{"getOrder", "listEvents", "readTimeline"} {
		tryOut(ctx, t, operation, map[string]string{"id": id}, 200)
	}
	tryOut(ctx, t, "readActivity", nil, 200)
	second := tryOut(ctx, t, "createOrder", nil, 201)
	if second.ID == id {
		t.Error("the second order is the first: the page sends an Idempotency-Key that nobody has typed")
	}
	for _, operation := range []string{"changeAmount", "removeItem", "cancelOrder"} {
		tryOut(ctx, t, operation, map[string]string{"id": second.ID}, 200)
	}
}

type answer struct {
	ID, Status string
	Version    int
	Items      []struct{}
	Orders     []answer
}

// tryOut opens an operation, types into the fields, executes it and reads the answer.
func tryOut(ctx context.Context, t *testing.T, operation string, fields map[string]string, status int) (a answer) {
	t.Helper()
	block := `[id^="operations-"][id$="-` + operation + `"]`
	is := `document.querySelector('` + block
	waitFor(ctx, t, is+`')`)
	if evaluate(ctx, t, is+`').classList.contains("is-open")`) == "false" {
		click(ctx, t, block+` .opblock-summary-control`)
	}
	waitFor(ctx, t, is+` .try-out__btn')`)
	if evaluate(ctx, t, is+` .try-out__btn.cancel')`) == "null" {
		click(ctx, t, block+` .try-out__btn`)
	}
	waitFor(ctx, t, is+` button.execute')`)
	for name, value := range fields {
		field := block + ` tr[data-param-name="` + name + `"] input`
		if prefilled := evaluate(ctx, t, `document.querySelector('`+field+`').value`); prefilled != "" && prefilled != value {
			t.Errorf("%s: the field %s is filled with %q, which somebody has to replace", operation, name, prefilled)
		}
		if _, err := chromedp.Run(ctx, chromedp.Steps(chromedp.Clear(field), chromedp.SendKeys(field, value))); err != nil {
			t.Fatal(err)
		}
	}
	// The page takes over what was typed a moment later, and until then refuses to execute.
	waitFor(ctx, t, `(`+is+` .live-responses-table .response-col_status') || (`+is+` button.execute').click(), false))`)
	shown := evaluate(ctx, t, is+` .live-responses-table tbody .response-col_status').innerText`)
	body := evaluate(ctx, t, `(`+is+` .live-responses-table .highlight-code code') || {}).innerText`)
	fitsAScreen(ctx, t, operation, is+`')`)
	for _, part := range []string{"button.execute", ".live-responses-table .response-col_status"} {
		if evaluate(ctx, t, is+` `+part+`').getBoundingClientRect().bottom <= innerHeight`) != "true" {
			t.Errorf("%s: %s is below the screen", operation, part)
		}
	}
	shoot(ctx, t, operation)
	if !strings.HasPrefix(shown, map[int]string{200: "200", 201: "201"}[status]) {
		t.Fatalf("%s is answered with %s %s", operation, shown, body)
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%s is answered with %s: %v", operation, body, err)
	}
	click(ctx, t, block+` .opblock-summary-control`)
	return a
}

// fitsAScreen expects that an operation is on one screen when it is scrolled to: all its fields and all that comes back.
func fitsAScreen(ctx context.Context, t *testing.T, operation, block string) {
	t.Helper()
	height := evaluate(ctx, t, `(`+block+`.scrollIntoView(), Math.ceil(`+block+`.getBoundingClientRect().height) + " of " + innerHeight)`)
	if evaluate(ctx, t, block+`.getBoundingClientRect().height <= innerHeight`) != "true" {
		t.Errorf("%s takes %s pixels: more than a screen", operation, height)
	}
	t.Logf("%s: %s pixels", operation, height)
}

func click(ctx context.Context, t *testing.T, selector string) {
	t.Helper()
	evaluate(ctx, t, `document.querySelector('`+selector+`').click()`)
}

// watch begins to note what the policy of a page refuses; asked is that, and what the page has asked the network for.
const (
	watch = `(window.refused = [], new ReportingObserver(reports => refused.push(...reports.map(r => "refused: " + r.body.blockedURL)),
		{ types: ["csp-violation"], buffered: true }).observe())`
	asked = `performance.getEntriesByType("resource").map(e => e.name).concat(refused).join("\n")`
)

// The page shows all of the description, and the browser asks nobody but the service.
func TestTheDocsPageShowsEverythingAndAsksNobody(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"HEXORDERS_STORE": "memory"})
	ctx := open(t)
	visit(ctx, t, s.url+"/docs/")
	operations := regexp.MustCompile(`      operationId: (\w+)\n      tags: `).FindAllSubmatch(description.OpenAPI, -1)
	waitFor(ctx, t, fmt.Sprintf(`document.querySelectorAll(".opblock").length == %d`, len(operations)))
	evaluate(ctx, t, watch)
	shoot(ctx, t, "page")
	for _, operation := range operations {
		block := `document.querySelector('[id^="operations-"][id$="-` + string(operation[1]) + `"]`
		evaluate(ctx, t, block+` .opblock-summary-control').click()`)
		waitFor(ctx, t, block+` .responses-wrapper')`)
		fitsAScreen(ctx, t, string(operation[1]), block+`')`)
		shoot(ctx, t, string(operation[1]))
		evaluate(ctx, t, block+` .opblock-summary-control').click()`)
	}
	got := evaluate(ctx, t, asked)
	for address := range strings.SplitSeq(got, "\n") {
		if !strings.HasPrefix(address, s.url+"/") {
			t.Errorf("the page asks for %s", address)
		}
	}
	for _, part := range []string{"/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/start.js", "/openapi.yaml"} {
		if !strings.Contains(got, s.url+part) {
			t.Errorf("the page asks for %s, not for %s", got, part)
		}
	}
}

// The same page, as a careless hand could leave it: with a picture from elsewhere. Without its policy the browser asks for
// it, and with it the refusal is seen, or the test above has proved nothing.
func TestAPageThatAsksStrangersIsFound(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]string{"HEXORDERS_STORE": "memory"})
	ctx := open(t)
	for policy, want := range map[string]string{"": "", "default-src 'self'": "refused: "} {
		page := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: strings.TrimPrefix(s.url, "http://")})
				r.Out.Header.Del("Accept-Encoding")
			},
			ModifyResponse: func(r *http.Response) error {
				body, err := io.ReadAll(r.Body)
				body = bytes.Replace(body, []byte("<noscript>"), []byte(`<img src="http://strangers.invalid/pixel.png"><noscript>`), 1)
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				r.Header.Set("Content-Length", strconv.Itoa(len(body)))
				r.Header.Set("Content-Security-Policy", policy)
				return err
			},
		})
		visit(ctx, t, page.URL+"/docs")
		evaluate(ctx, t, watch)
		waitFor(ctx, t, asked+`.includes("`+want+`http://strangers.invalid/pixel.png")`)
		page.Close()
	}
}
