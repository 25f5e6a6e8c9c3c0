// The flow of test/docs/clients_test.go with the Go client that oapi-codegen makes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"client/hexorders"
)

func main() {
	base, buyer := os.Args[1], os.Args[2]
	ctx := context.Background()
	client, err := hexorders.NewClientWithResponses(base)
	if err != nil {
		fail("%v", err)
	}

	input := hexorders.OrderInput{BuyerId: buyer, Items: &[]hexorders.Item{{ProductId: "1111", Amount: 3}}}
	created := must(client.CreateOrderWithResponse(ctx, nil, input))
	first := *created.JSON201
	want("the location", created.HTTPResponse.Header.Get("Location"), "/orders/"+first.Id)
	added := must(client.AddItemWithResponse(ctx, first.Id, &hexorders.AddItemParams{IfMatch: new(`"1"`)},
		hexorders.Item{ProductId: "2222", Amount: 8}))
	want("the items", len(added.JSON200.Items), 2)
	paid := must(client.PayOrderWithResponse(ctx, first.Id, nil))
	want("the status", paid.JSON200.Status, hexorders.Paid)
	refused := must(client.CancelOrderWithResponse(ctx, first.Id, nil, hexorders.CancelInput{}))
	want("cancel a paid order", refused.ApplicationproblemJSON409.Code, hexorders.ProblemCodeOrderAlreadyPaid)
	page := must(client.ListOrdersWithResponse(ctx, &hexorders.ListOrdersParams{
		BuyerId: new(buyer), Status: new(hexorders.Paid), AtLeastVersion: new(first.Id + "/3"),
	}))
	want("the list", page.JSON200.Orders[0].TotalAmount, 11)
	past := must(client.GetOrderWithResponse(ctx, first.Id, &hexorders.GetOrderParams{Version: new(1)}))
	want("an old version", past.JSON200.Status, hexorders.Pending)
	history := must(client.ListEventsWithResponse(ctx, first.Id, nil))
	want("the events", len(history.JSON200.Events), 3)
	timeline := must(client.ReadTimelineWithResponse(ctx, first.Id, &hexorders.ReadTimelineParams{AtLeastVersion: new(3)}))
	want("the timeline", len(timeline.JSON200.Entries), 3)
	activity := must(client.ReadActivityWithResponse(ctx, buyer, &hexorders.ReadActivityParams{AtLeastVersion: new(first.Id + "/3")}))
	want("the activity", activity.JSON200.Paid, 1)
	fmt.Println("ok flow")

	wrong := must(client.CreateOrderWithResponse(ctx, nil, hexorders.OrderInput{BuyerId: " x"}))
	want("a wrong buyer", wrong.ApplicationproblemJSON422.Code, hexorders.ProblemCodeInvalidId)
	want("where it stands", *(*wrong.ApplicationproblemJSON422.Errors)[0].Pointer, "/buyerId")
	page = must(client.ListOrdersWithResponse(ctx, &hexorders.ListOrdersParams{BuyerId: new(" x")}))
	want("a wrong query", page.ApplicationproblemJSON400.Code, hexorders.ProblemCodeInvalidQuery)
	want("its parameter", *(*page.ApplicationproblemJSON400.Errors)[0].Parameter, "buyerId")
	fmt.Println("ok errors")

	second := *must(client.CreateOrderWithResponse(ctx, nil, input)).JSON201
	changed := must(client.ChangeAmountWithResponse(ctx, second.Id, "1111", &hexorders.ChangeAmountParams{IfMatch: new(`"7"`)},
		hexorders.AmountInput{Amount: 5}))
	want("a wrong If-Match", changed.StatusCode(), http.StatusPreconditionFailed)
	want("a wrong If-Match", changed.ApplicationproblemJSON412.Code, hexorders.ProblemCodeVersionMismatch)
	fmt.Println("ok precondition")

	page = must(client.ListOrdersWithResponse(ctx, &hexorders.ListOrdersParams{
		BuyerId: new(buyer), Sort: new(hexorders.CreatedAt), Limit: new(1), AtLeastVersion: new(second.Id + "/1"),
	}))
	want("the first page", page.JSON200.Orders[0].Id, first.Id)
	page = must(client.ListOrdersWithResponse(ctx, &hexorders.ListOrdersParams{
		BuyerId: new(buyer), Sort: new(hexorders.CreatedAt), Limit: new(1), Cursor: page.JSON200.NextCursor,
	}))
	want("the second page", page.JSON200.Orders[0].Id, second.Id)
	want("a cursor on the last page", page.JSON200.NextCursor == nil, true)
	fmt.Println("ok page")

	keyed := hexorders.CreateOrderParams{IdempotencyKey: new(buyer + "-key")}
	third := *must(client.CreateOrderWithResponse(ctx, &keyed, input)).JSON201
	again := *must(client.CreateOrderWithResponse(ctx, &keyed, input)).JSON201
	want("the retry", again.Id, third.Id)
	other := must(client.CreateOrderWithResponse(ctx, &keyed, hexorders.OrderInput{BuyerId: buyer}))
	want("another request with the key", other.ApplicationproblemJSON422.Code, hexorders.ProblemCodeIdempotencyKeyReused)
	fmt.Println("ok retry")

	null := must(client.CancelOrderWithBodyWithResponse(ctx, second.Id, nil, "application/json", strings.NewReader("null")))
	want("cancel without a body", null.JSON200.Status, hexorders.Cancelled)
	cancelled := must(client.CancelOrderWithResponse(ctx, third.Id, nil, hexorders.CancelInput{Reason: new("changed my mind")}))
	want("cancel with a reason", cancelled.JSON200.Status, hexorders.Cancelled)
	fmt.Println("ok cancel")

	description := must(client.DescribeWithResponse(ctx, nil))
	want("the description", strings.HasPrefix(string(description.Body), "openapi: 3.1"), true)
	ready := must(client.ReadyWithResponse(ctx, nil))
	want("the health", ready.JSON200.Status, "ready")
	fmt.Println("ok description")
}

func must[T any](response *T, err error) *T {
	if err != nil {
		fail("%v", err)
	}
	return response
}

func want(what string, got, want any) {
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		fail("%s: %s, want %s", what, g, w)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
