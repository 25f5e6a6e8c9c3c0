// The flow of test/docs/clients_test.go with the Go client that OpenAPI Generator makes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"

	"client/hexorders"
)

func main() {
	base, buyer := os.Args[1], os.Args[2]
	ctx := context.Background()
	configuration := hexorders.NewConfiguration()
	configuration.Servers = hexorders.ServerConfigurations{{URL: base}}
	client := hexorders.NewAPIClient(configuration)
	orders, views := client.OrdersAPI, client.ViewsAPI

	input := hexorders.NewOrderInput(buyer)
	input.Items = []hexorders.Item{*hexorders.NewItem("1111", 3)}
	first, response := must(orders.CreateOrder(ctx).OrderInput(*input).Execute())
	want("the location", response.Header.Get("Location"), "/orders/"+first.Id)
	added, _ := must(orders.AddItem(ctx, first.Id).Item(*hexorders.NewItem("2222", 8)).IfMatch(`"1"`).Execute())
	want("the items", len(added.Items), 2)
	paid, _ := must(orders.PayOrder(ctx, first.Id).Execute())
	want("the status", paid.Status, hexorders.PAID)
	_, _, err := orders.CancelOrder(ctx, first.Id).Execute()
	want("cancel a paid order", problem(err).Code, hexorders.ORDER_ALREADY_PAID)
	page, _ := must(views.ListOrders(ctx).BuyerId(buyer).Status(hexorders.PAID).AtLeastVersion(first.Id + "/3").Execute())
	want("the list", page.Orders[0].TotalAmount, 11)
	past, _ := must(orders.GetOrder(ctx, first.Id).Version(1).Execute())
	want("an old version", past.Status, hexorders.PENDING)
	history, _ := must(orders.ListEvents(ctx, first.Id).Execute())
	want("the events", len(history.Events), 3)
	timeline, _ := must(views.ReadTimeline(ctx, first.Id).AtLeastVersion(3).Execute())
	want("the timeline", len(timeline.Entries), 3)
	activity, _ := must(views.ReadActivity(ctx, buyer).AtLeastVersion(first.Id + "/3").Execute())
	want("the activity", activity.Paid, 1)
	fmt.Println("ok flow")

	_, _, err = orders.CreateOrder(ctx).OrderInput(*hexorders.NewOrderInput(" x")).Execute()
	want("a wrong buyer", problem(err).Code, hexorders.INVALID_ID)
	want("where it stands", problem(err).Errors[0].GetPointer(), "/buyerId")
	_, _, err = views.ListOrders(ctx).BuyerId(" x").Execute()
	want("a wrong query", problem(err).Code, hexorders.INVALID_QUERY)
	want("its parameter", problem(err).Errors[0].GetParameter(), "buyerId")
	fmt.Println("ok errors")

	second, _ := must(orders.CreateOrder(ctx).OrderInput(*input).Execute())
	_, _, err = orders.ChangeAmount(ctx, second.Id, "1111").AmountInput(*hexorders.NewAmountInput(5)).IfMatch(`"7"`).Execute()
	want("a wrong If-Match", problem(err).Status, 412)
	want("a wrong If-Match", problem(err).Code, hexorders.VERSION_MISMATCH)
	fmt.Println("ok precondition")

	page, _ = must(views.ListOrders(ctx).BuyerId(buyer).Sort(hexorders.CREATED_AT).Limit(1).AtLeastVersion(second.Id + "/1").Execute())
	want("the first page", page.Orders[0].Id, first.Id)
	page, _ = must(views.ListOrders(ctx).BuyerId(buyer).Sort(hexorders.CREATED_AT).Limit(1).Cursor(page.GetNextCursor()).Execute())
	want("the second page", page.Orders[0].Id, second.Id)
	want("a cursor on the last page", page.HasNextCursor(), false)
	fmt.Println("ok page")

	key := buyer + "-key"
	third, _ := must(orders.CreateOrder(ctx).OrderInput(*input).IdempotencyKey(key).Execute())
	again, _ := must(orders.CreateOrder(ctx).OrderInput(*input).IdempotencyKey(key).Execute())
	want("the retry", again.Id, third.Id)
	_, _, err = orders.CreateOrder(ctx).OrderInput(*hexorders.NewOrderInput(buyer)).IdempotencyKey(key).Execute()
	want("another request with the key", problem(err).Code, hexorders.IDEMPOTENCY_KEY_REUSED)
	fmt.Println("ok retry")

	cancelled, _ := must(orders.CancelOrder(ctx, second.Id).Execute())
	want("cancel without a body", cancelled.Status, hexorders.CANCELLED)
	reason := hexorders.NewCancelInput()
	reason.SetReason("changed my mind")
	cancelled, _ = must(orders.CancelOrder(ctx, third.Id).CancelInput(*reason).Execute())
	want("cancel with a reason", cancelled.Status, hexorders.CANCELLED)
	fmt.Println("ok cancel")

	file, _ := must(client.DescriptionAPI.Describe(ctx).Execute())
	text, err := io.ReadAll(file)
	want("the description", err == nil && strings.HasPrefix(string(text), "openapi: 3.1"), true)
	health, _ := must(client.HealthAPI.Ready(ctx).Execute())
	want("the health", health.Status, "ready")
	fmt.Println("ok description")
}

func must[T any](value T, response *http.Response, err error) (T, *http.Response) {
	if err != nil {
		fail("%v", err)
	}
	return value, response
}

func problem(err error) hexorders.Problem {
	var refused *hexorders.GenericOpenAPIError
	if !errors.As(err, &refused) {
		fail("%v is no refusal", err)
	}
	problem, ok := refused.Model().(hexorders.Problem)
	if !ok {
		fail("%v has no problem: %s", err, refused.Body())
	}
	return problem
}

func want(what string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) || reflect.ValueOf(got).Kind() == reflect.Invalid {
		fail("%s: %v, want %v", what, got, want)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
