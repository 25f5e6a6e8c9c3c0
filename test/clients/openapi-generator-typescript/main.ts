// The flow of test/docs/clients_test.go with the TypeScript client that OpenAPI Generator makes.
import {
  Configuration, DescriptionApi, HealthApi, OrdersApi, OrderSort, type Problem, ProblemFromJSON, ResponseError, Status,
  ViewsApi,
} from "./hexorders";

const [base, buyer] = process.argv.slice(2);

async function main() {
  const configuration = new Configuration({ basePath: base });
  const orders = new OrdersApi(configuration);
  const views = new ViewsApi(configuration);

  const orderInput = { buyerId: buyer, items: [{ productId: "1111", amount: 3 }] };
  const created = await orders.createOrderRaw({ orderInput });
  const first = await created.value();
  want("the location", created.raw.headers.get("Location"), "/orders/" + first.id);
  const added = await orders.addItem({ id: first.id, item: { productId: "2222", amount: 8 }, ifMatch: '"1"' });
  want("the items", added.items.length, 2);
  want("the status", (await orders.payOrder({ id: first.id })).status, Status.Paid);
  want("cancel a paid order", (await problem(orders.cancelOrder({ id: first.id }))).code, "order-already-paid");
  let page = await views.listOrders({ buyerId: buyer, status: Status.Paid, atLeastVersion: first.id + "/3" });
  want("the list", page.orders[0].totalAmount, 11);
  want("an old version", (await orders.getOrder({ id: first.id, version: 1 })).status, Status.Pending);
  want("the events", (await orders.listEvents({ id: first.id })).events.length, 3);
  want("the timeline", (await views.readTimeline({ id: first.id, atLeastVersion: 3 })).entries.length, 3);
  want("the activity", (await views.readActivity({ buyerId: buyer, atLeastVersion: first.id + "/3" })).paid, 1);
  console.log("ok flow");

  const wrongBuyer = await problem(orders.createOrder({ orderInput: { buyerId: " x" } }));
  want("a wrong buyer", wrongBuyer.code, "invalid-id");
  want("where it stands", wrongBuyer.errors?.[0].pointer, "/buyerId");
  const wrongQuery = await problem(views.listOrders({ buyerId: " x" }));
  want("a wrong query", wrongQuery.code, "invalid-query");
  want("its parameter", wrongQuery.errors?.[0].parameter, "buyerId");
  console.log("ok errors");

  const second = await orders.createOrder({ orderInput });
  const mismatch = await problem(
    orders.changeAmount({ id: second.id, productId: "1111", amountInput: { amount: 5 }, ifMatch: '"7"' }));
  want("a wrong If-Match", mismatch.status, 412);
  want("a wrong If-Match", mismatch.code, "version-mismatch");
  console.log("ok precondition");

  const list = { buyerId: buyer, sort: OrderSort.CreatedAt, limit: 1 };
  page = await views.listOrders({ ...list, atLeastVersion: second.id + "/1" });
  want("the first page", page.orders[0].id, first.id);
  page = await views.listOrders({ ...list, cursor: page.nextCursor });
  want("the second page", page.orders[0].id, second.id);
  want("a cursor on the last page", page.nextCursor, undefined);
  console.log("ok page");

  const idempotencyKey = buyer + "-key";
  const third = await orders.createOrder({ orderInput, idempotencyKey });
  want("the retry", (await orders.createOrder({ orderInput, idempotencyKey })).id, third.id);
  const other = await problem(orders.createOrder({ orderInput: { buyerId: buyer }, idempotencyKey }));
  want("another request with the key", other.code, "idempotency-key-reused");
  console.log("ok retry");

  want("cancel without a body", (await orders.cancelOrder({ id: second.id })).status, Status.Cancelled);
  const cancelled = await orders.cancelOrder({ id: third.id, cancelInput: { reason: "changed my mind" } });
  want("cancel with a reason", cancelled.status, Status.Cancelled);
  console.log("ok cancel");

  const description = await (await new DescriptionApi(configuration).describe()).text();
  want("the description", description.startsWith("openapi: 3.1"), true);
  want("the health", (await new HealthApi(configuration).ready()).status, "ready");
  console.log("ok description");
}

async function problem(answer: Promise<unknown>): Promise<Problem> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
    throw error;
  }
  throw new Error("no refusal");
}

function want(what: string, got: unknown, want: unknown) {
  if (got !== want) throw new Error(`${what}: ${got}, want ${want}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
