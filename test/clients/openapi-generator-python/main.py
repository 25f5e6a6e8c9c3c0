"""The flow of test/docs/clients_test.go with the Python client that OpenAPI Generator makes."""

import sys

import hexorders
from hexorders import AmountInput, ApiException, CancelInput, Item, OrderInput, OrderSort, ProblemCode, Status

base, buyer = sys.argv[1:]
client = hexorders.ApiClient(hexorders.Configuration(host=base))
orders, views = hexorders.OrdersApi(client), hexorders.ViewsApi(client)


def problem(call):
    try:
        call()
    except ApiException as refused:
        if not isinstance(refused.data, hexorders.Problem):
            sys.exit(f"{refused} has no problem: {refused.body}")
        return refused.data
    sys.exit("no refusal")


def want(what, got, want):
    if got != want:
        sys.exit(f"{what}: {got}, want {want}")


body = OrderInput(buyer_id=buyer, items=[Item(product_id="1111", amount=3)])
created = orders.create_order_with_http_info(body)
first = created.data
want("the location", created.headers["Location"], "/orders/" + first.id)
added = orders.add_item(first.id, Item(product_id="2222", amount=8), if_match='"1"')
want("the items", len(added.items), 2)
want("the status", orders.pay_order(first.id).status, Status.PAID)
late = problem(lambda: orders.cancel_order(first.id))
want("cancel a paid order", late.code, ProblemCode.ORDER_MINUS_ALREADY_MINUS_PAID)
at_least = first.id + "/3"
want("the list", views.list_orders(buyer, status=Status.PAID, at_least_version=at_least).orders[0].total_amount, 11)
want("an old version", orders.get_order(first.id, version=1).status, Status.PENDING)
want("the events", len(orders.list_events(first.id).events), 3)
want("the timeline", len(views.read_timeline(first.id, at_least_version=3).entries), 3)
want("the activity", views.read_activity(buyer, at_least_version=at_least).paid, 1)
print("ok flow")

wrong = problem(lambda: orders.create_order(OrderInput(buyer_id=" x")))
want("a wrong buyer", wrong.code, ProblemCode.INVALID_MINUS_ID)
want("where it stands", wrong.errors[0].pointer, "/buyerId")
wrong = problem(lambda: views.list_orders(" x"))
want("a wrong query", wrong.code, ProblemCode.INVALID_MINUS_QUERY)
want("its parameter", wrong.errors[0].parameter, "buyerId")
print("ok errors")

second = orders.create_order(body)
wrong = problem(lambda: orders.change_amount(second.id, "1111", AmountInput(amount=5), if_match='"7"'))
want("a wrong If-Match", wrong.status, 412)
want("a wrong If-Match", wrong.code, ProblemCode.VERSION_MINUS_MISMATCH)
print("ok precondition")

page = views.list_orders(buyer, sort=OrderSort.CREATEDAT, limit=1, at_least_version=second.id + "/1")
want("the first page", page.orders[0].id, first.id)
page = views.list_orders(buyer, sort=OrderSort.CREATEDAT, limit=1, cursor=page.next_cursor)
want("the second page", page.orders[0].id, second.id)
want("a cursor on the last page", page.next_cursor, None)
print("ok page")

key = buyer + "-key"
third = orders.create_order(body, idempotency_key=key)
want("the retry", orders.create_order(body, idempotency_key=key).id, third.id)
other = problem(lambda: orders.create_order(OrderInput(buyer_id=buyer), idempotency_key=key))
want("another request with the key", other.code, ProblemCode.IDEMPOTENCY_MINUS_KEY_MINUS_REUSED)
print("ok retry")

want("cancel without a body", orders.cancel_order(second.id).status, Status.CANCELLED)
reason = CancelInput(reason="changed my mind")
want("cancel with a reason", orders.cancel_order(third.id, cancel_input=reason).status, Status.CANCELLED)
print("ok cancel")

description = hexorders.DescriptionApi(client).describe()
want("the description", bytes(description).startswith(b"openapi: 3.1"), True)
want("the health", hexorders.HealthApi(client).ready().status, "ready")
print("ok description")
