import hexorders.ApiClient;
import hexorders.ApiException;
import hexorders.ApiResponse;
import hexorders.api.DescriptionApi;
import hexorders.api.HealthApi;
import hexorders.api.OrdersApi;
import hexorders.api.ViewsApi;
import hexorders.model.AmountInput;
import hexorders.model.CancelInput;
import hexorders.model.Health;
import hexorders.model.Item;
import hexorders.model.Order;
import hexorders.model.OrderInput;
import hexorders.model.OrderSort;
import hexorders.model.Problem;
import hexorders.model.ProblemCode;
import hexorders.model.Status;
import hexorders.model.SummaryPage;
import java.nio.file.Files;
import java.util.List;
import java.util.Objects;

/** The flow of test/docs/clients_test.go with the Java client that OpenAPI Generator makes. */
class Main {
  static final ApiClient client = new ApiClient();

  public static void main(String[] args) throws Exception {
    String base = args[0], buyer = args[1];
    client.updateBaseUri(base);
    OrdersApi orders = new OrdersApi(client);
    ViewsApi views = new ViewsApi(client);

    OrderInput body = new OrderInput().buyerId(buyer).items(List.of(new Item().productId("1111").amount(3)));
    ApiResponse<Order> created = orders.createOrderWithHttpInfo(body, null, null, null);
    Order first = created.getData();
    want("the location", created.getHeaders().get("location").get(0), "/orders/" + first.getId());
    Order added =
        orders.addItem(first.getId(), new Item().productId("2222").amount(8), "\"1\"", null, null, null, null);
    want("the items", added.getItems().size(), 2);
    want("the status", orders.payOrder(first.getId(), null, null, null, null, null).getStatus(), Status.PAID);
    Problem late = problem(() -> orders.cancelOrder(first.getId(), null, null, null, null, null, null));
    want("cancel a paid order", late.getCode(), ProblemCode.ORDER_ALREADY_PAID);
    String atLeast = first.getId() + "/3";
    SummaryPage page = views.listOrders(buyer, Status.PAID, null, null, null, atLeast, null, null);
    want("the list", page.getOrders().get(0).getTotalAmount(), 11);
    want("an old version", orders.getOrder(first.getId(), 1, null, null, null, null).getStatus(), Status.PENDING);
    want("the events", orders.listEvents(first.getId(), null, null, null, null).getEvents().size(), 3);
    want("the timeline", views.readTimeline(first.getId(), null, null, 3, null, null).getEntries().size(), 3);
    want("the activity", views.readActivity(buyer, atLeast, null, null).getPaid(), 1);
    System.out.println("ok flow");

    Problem wrong = problem(() -> orders.createOrder(new OrderInput().buyerId(" x"), null, null, null));
    want("a wrong buyer", wrong.getCode(), ProblemCode.INVALID_ID);
    want("where it stands", wrong.getErrors().get(0).getPointer(), "/buyerId");
    wrong = problem(() -> views.listOrders(" x", null, null, null, null, null, null, null));
    want("a wrong query", wrong.getCode(), ProblemCode.INVALID_QUERY);
    want("its parameter", wrong.getErrors().get(0).getParameter(), "buyerId");
    System.out.println("ok errors");

    Order second = orders.createOrder(body, null, null, null);
    wrong = problem(() -> orders.changeAmount(
        second.getId(), "1111", new AmountInput().amount(5), "\"7\"", null, null, null, null));
    want("a wrong If-Match", wrong.getStatus(), 412);
    want("a wrong If-Match", wrong.getCode(), ProblemCode.VERSION_MISMATCH);
    System.out.println("ok precondition");

    page = views.listOrders(buyer, null, OrderSort.CREATED_AT, 1, null, second.getId() + "/1", null, null);
    want("the first page", page.getOrders().get(0).getId(), first.getId());
    page = views.listOrders(buyer, null, OrderSort.CREATED_AT, 1, page.getNextCursor(), null, null, null);
    want("the second page", page.getOrders().get(0).getId(), second.getId());
    want("a cursor on the last page", page.getNextCursor(), null);
    System.out.println("ok page");

    String key = buyer + "-key";
    Order third = orders.createOrder(body, key, null, null);
    want("the retry", orders.createOrder(body, key, null, null).getId(), third.getId());
    wrong = problem(() -> orders.createOrder(new OrderInput().buyerId(buyer), key, null, null));
    want("another request with the key", wrong.getCode(), ProblemCode.IDEMPOTENCY_KEY_REUSED);
    System.out.println("ok retry");

    want("cancel without a body",
        orders.cancelOrder(second.getId(), null, null, null, null, null, null).getStatus(), Status.CANCELLED);
    CancelInput reason = new CancelInput().reason("changed my mind");
    want("cancel with a reason",
        orders.cancelOrder(third.getId(), null, null, null, null, null, reason).getStatus(), Status.CANCELLED);
    System.out.println("ok cancel");

    String description = Files.readString(new DescriptionApi(client).describe(null, null).toPath());
    want("the description", description.startsWith("openapi: 3.1"), true);
    want("the health", new HealthApi(client).ready(null).getStatus(), Health.StatusEnum.READY);
    System.out.println("ok description");
  }

  interface Call {
    void run() throws ApiException;
  }

  static Problem problem(Call call) throws Exception {
    try {
      call.run();
    } catch (ApiException refused) {
      return client.getObjectMapper().readValue(refused.getResponseBody(), Problem.class);
    }
    throw new AssertionError("no refusal");
  }

  static void want(String what, Object got, Object want) {
    if (!Objects.equals(got, want)) throw new AssertionError(what + ": " + got + ", want " + want);
  }
}
