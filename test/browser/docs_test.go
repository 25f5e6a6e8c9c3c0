//go:build chromium

package browser

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Somebody tries the API out on its page, from an order's creation to the list of what was paid. They type only the id of
// the order, where nothing stands yet; every field that is filled in stays as it is.
func TestTheApiCanBeTriedOut(t *testing.T) {
	address := start(t)
	ctx := open(t)
	visit(ctx, t, "http://"+address+"/docs")

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
	evaluate(ctx, t, is+`').scrollIntoView()`)
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

func click(ctx context.Context, t *testing.T, selector string) {
	t.Helper()
	evaluate(ctx, t, `document.querySelector('`+selector+`').click()`)
}
