package readside

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// An event or a status that is new in the core gets an answer here before it gets into a broker: these tests walk all of
// them through all views and name the file that does not know one.

// passesOver names the events that a view makes nothing of, on purpose.
var passesOver = map[string][]string{
	"product-sales": {
		"OrderCreated", "OrderItemAdded", "OrderAmountChanged", "OrderItemRemoved", "OrderSubmitted", "OrderCancelled",
	},
}

// notCounted has the statuses that buyer-activity does not count, each with its reason.
var notCounted = map[order.Status]string{}

func TestEveryEventTypeGoesThroughEveryView(t *testing.T) {
	for typeName, newest := range eventjson.Schemas() {
		event := goldenEvent(t, typeName, newest)
		for _, v := range All {
			changes := applied(t, v, typeName, event)
			writes := len(changes.Insert)+len(changes.Put)+len(changes.Delete)+len(changes.Add) > 0
			switch listed := slices.Contains(passesOver[v.Name], typeName); {
			case !writes && !listed:
				t.Errorf("%s: %s makes no rows of %s. Teach it, or add the type to passesOver in complete_test.go", fileOf(t, v), v.Name, typeName)
			case writes && listed:
				t.Errorf("%s: %s makes rows of %s. Take the type out of passesOver in complete_test.go", fileOf(t, v), v.Name, typeName)
			}
		}
		if words := inWords(Event{Type: typeName, Data: event}); words == "" || words == typeName {
			t.Errorf("app/readside/timeline.go: inWords has no words for %s, only %q", typeName, words)
		}
	}
}

func TestEveryStatusIsCountedOrNamedAsNotCounted(t *testing.T) {
	for _, status := range order.Statuses() {
		switch counted := slices.Contains(BuyerActivity.Counters, string(status)); {
		case !counted && notCounted[status] == "":
			t.Errorf("app/readside/buyer_activity.go: countedStatuses lacks %s. Add it, or give a reason in "+
				"notCounted of complete_test.go", status)
		case counted && notCounted[status] != "":
			t.Errorf("app/readside/buyer_activity.go: countedStatuses has %s. Take it out of notCounted in complete_test.go", status)
		}
	}
}

// The document of an order says when the order came into its status, but for pending: that is when it was created.
func TestEveryStatusHasItsTime(t *testing.T) {
	found := map[order.Status]bool{order.StatusPending: true}
	for typeName, newest := range eventjson.Schemas() {
		before, err := Order{}.after("o", created(noon))
		if err != nil {
			t.Fatal(err)
		}
		event := goldenEvent(t, typeName, newest)
		if _, first := event.(order.Created); first {
			continue
		}
		after, err := before.after("o", event)
		if err != nil {
			t.Fatalf("%s: %v", typeName, err)
		}
		if before.Status == after.Status {
			continue
		}
		found[after.Status] = true
		if want := fmt.Sprintf(`"%sAt":%q`, after.Status, timestamp(event.OccurredAt())); !strings.Contains(string(after.Document()), want) {
			t.Errorf("app/readside/order.go: the document of an order that is %s has no %s: %s", after.Status, want, after.Document())
		}
		read, err := decodeOrder(after.Document())
		if err != nil || string(encodeOrder(read)) != string(after.Document()) {
			t.Errorf("app/readside/order.go: the document\n%s reads back as\n%s, error %v", after.Document(), encodeOrder(read), err)
		}
	}
	for _, status := range order.Statuses() {
		if !found[status] {
			t.Errorf("no event makes an order %s", status)
		}
	}
}

// applied are the rows that a view makes of an event: of the first of an order, or of the second.
func applied(t *testing.T, v View, typeName string, event order.Event) ports.RowChanges {
	t.Helper()
	var before Order
	var err error
	if _, first := event.(order.Created); !first {
		if before, err = before.after("o", created(noon)); err != nil {
			t.Fatal(err)
		}
	}
	after, err := before.after("o", event)
	if err != nil {
		t.Fatalf("app/readside/order.go: %s is no event of an order: %v", typeName, err)
	}
	var rows Rows
	v.Apply(before, after, Event{Type: typeName, Data: event}, &rows)
	changes, _ := rows.collected()
	return changes
}

// goldenEvent is the event in the golden file of a type's newest schema.
func goldenEvent(t *testing.T, typeName string, schema int) order.Event {
	t.Helper()
	payload, err := os.ReadFile(fmt.Sprintf("../../adapters/eventjson/testdata/%s.%d.json", typeName, schema))
	if err != nil {
		t.Fatalf("%v; go test ./adapters/eventjson says more", err)
	}
	event, err := eventjson.Event(ports.Message{ID: "o/2", Type: typeName, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// fileOf is the file of a view: it has the view's name.
func fileOf(t *testing.T, v View) string {
	t.Helper()
	file := strings.ReplaceAll(v.Name, "-", "_") + ".go"
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	return "app/readside/" + file
}
