// The flow of test/docs/clients_test.go with the types that openapi-typescript makes, and openapi-fetch.
import createClient from "openapi-fetch";
import type { components, paths } from "./hexorders";

const [base, buyer] = process.argv.slice(2);

async function main() {
  const client = createClient<paths>({ baseUrl: base });

  const body = { buyerId: buyer, items: [{ productId: "1111", amount: 3 }] };
  const created = await client.POST("/orders", { body });
  const first = ok(created);
  want("the location", created.response.headers.get("Location"), "/orders/" + first.id);
  const path = { id: first.id };
  const added = ok(await client.POST("/orders/{id}/items", {
    params: { path, header: { "If-Match": '"1"' } }, body: { productId: "2222", amount: 8 },
  }));
  want("the items", added.items.length, 2);
  want("the status", ok(await client.POST("/orders/{id}/pay", { params: { path } })).status, "paid");
  const late = problem(await client.POST("/orders/{id}/cancel", { params: { path } }));
  want("cancel a paid order", late.code, "order-already-paid");
  const atLeastVersion = first.id + "/3";
  let page = ok(await client.GET("/orders", { params: { query: { buyerId: buyer, status: "paid", atLeastVersion } } }));
  want("the list", page.orders[0].totalAmount, 11);
  const past = ok(await client.GET("/orders/{id}", { params: { path, query: { version: 1 } } }));
  want("an old version", past.status, "pending");
  want("the events", ok(await client.GET("/orders/{id}/events", { params: { path } })).events.length, 3);
  const timeline = ok(await client.GET("/orders/{id}/timeline", { params: { path, query: { atLeastVersion: 3 } } }));
  want("the timeline", timeline.entries.length, 3);
  const activity = ok(await client.GET("/buyers/{buyerId}/activity", {
    params: { path: { buyerId: buyer }, query: { atLeastVersion } },
  }));
  want("the activity", activity.paid, 1);
  console.log("ok flow");

  const wrongBuyer = problem(await client.POST("/orders", { body: { buyerId: " x" } }));
  want("a wrong buyer", wrongBuyer.code, "invalid-id");
  want("where it stands", wrongBuyer.errors?.[0].pointer, "/buyerId");
  const wrongQuery = problem(await client.GET("/orders", { params: { query: { buyerId: " x" } } }));
  want("a wrong query", wrongQuery.code, "invalid-query");
  want("its parameter", wrongQuery.errors?.[0].parameter, "buyerId");
  console.log("ok errors");

  const second = ok(await client.POST("/orders", { body }));
  const mismatch = problem(await client.PUT("/orders/{id}/items/{productId}", {
    params: { path: { id: second.id, productId: "1111" }, header: { "If-Match": '"7"' } }, body: { amount: 5 },
  }));
  want("a wrong If-Match", mismatch.status, 412);
  want("a wrong If-Match", mismatch.code, "version-mismatch");
  console.log("ok precondition");

  const list = { buyerId: buyer, sort: "createdAt", limit: 1 } as const;
  page = ok(await client.GET("/orders", { params: { query: { ...list, atLeastVersion: second.id + "/1" } } }));
  want("the first page", page.orders[0].id, first.id);
  page = ok(await client.GET("/orders", { params: { query: { ...list, cursor: page.nextCursor } } }));
  want("the second page", page.orders[0].id, second.id);
  want("a cursor on the last page", page.nextCursor, undefined);
  console.log("ok page");

  const header = { "Idempotency-Key": buyer + "-key" };
  const third = ok(await client.POST("/orders", { params: { header }, body }));
  want("the retry", ok(await client.POST("/orders", { params: { header }, body })).id, third.id);
  const other = problem(await client.POST("/orders", { params: { header }, body: { buyerId: buyer } }));
  want("another request with the key", other.code, "idempotency-key-reused");
  console.log("ok retry");

  const nothing = ok(await client.POST("/orders/{id}/cancel", { params: { path: { id: second.id } }, body: null }));
  want("cancel without a body", nothing.status, "cancelled");
  const cancelled = ok(await client.POST("/orders/{id}/cancel", {
    params: { path: { id: third.id } }, body: { by: "buyer", reason: "changed my mind" },
  }));
  want("cancel with a reason", cancelled.status, "cancelled");
  console.log("ok cancel");

  const description = ok(await client.GET("/openapi.yaml", { parseAs: "text" }));
  want("the description", String(description).startsWith("openapi: 3.1"), true);
  want("the health", ok(await client.GET("/readyz")).status, "ready");
  console.log("ok description");
}

function ok<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

function problem(answer: { error?: components["schemas"]["Problem"] }): components["schemas"]["Problem"] {
  if (answer.error === undefined) throw new Error("no refusal");
  return answer.error;
}

function want(what: string, got: unknown, want: unknown) {
  if (got !== want) throw new Error(`${what}: ${got}, want ${want}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
