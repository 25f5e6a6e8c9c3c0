package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A version with a view more finds a read model that was built without it. Everything else goes on, the new view says what to
// do, and a rebuild fills it.
func TestAViewThatIsNewIsFilledByARebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	p := w.serve("serve")
	o := &operator{t: t, client: w.client()}
	before := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`)
	o.does(before, "pay", "")
	w.complete()
	w.viewsAre(p)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}

	// The version before had the other views, and so neither these rows nor this name in the list of what was built.
	const newest = "product-sales"
	database := w.mongo.Database(w.source.Database)
	if err := database.Collection("readmodel.1." + newest).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed, err := database.Collection("readmodel").UpdateOne(t.Context(), bson.D{},
		bson.D{{Key: "$pull", Value: bson.D{{Key: "live.views", Value: newest}}}})
	if err != nil || changed.ModifiedCount != 1 {
		t.Fatalf("%+v, %v", changed, err)
	}

	p = w.serve("serve")
	p.says("not built", takeOverLimit)
	p.says(newest, takeOverLimit)
	after := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":4}]}`)
	o.does(after, "pay", "")
	asks := func(path string) answer {
		t.Helper()
		a, err := o.client.do(t.Context(), "GET", path, "")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	const path = "/products/1111/sales"
	if a := asks(path); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"view-not-built"`) ||
		!strings.Contains(string(a.body), "hexorders views rebuild") {
		t.Errorf("GET %s: answer %s, want 503 view-not-built that says what to do", path, a)
	}
	eventually(t, patience, "the other views go on", func() bool {
		a := asks(fmt.Sprintf("/buyers/9999/activity?atLeastVersion=%s/2", after))
		return a.status == http.StatusOK && strings.Contains(string(a.body), `"paid":2`)
	})
	if said := w.command("views", "status"); !strings.Contains(said, "not built: "+newest) {
		t.Errorf("`hexorders views status` says\n%swant that %s is not built", said, newest)
	}

	w.command("views", "rebuild")
	if a := asks(path); a.status != http.StatusOK || !strings.Contains(string(a.body), `"units":7,"orders":2`) {
		t.Errorf("GET %s after the rebuild: answer %s, want 7 units of 2 orders", path, a)
	}
	w.viewsAre(p)
	again := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":5}]}`)
	o.does(again, "pay", "")
	eventually(t, patience, "the new view is fed", func() bool {
		return strings.Contains(string(asks(path+"?atLeastVersion="+again+"/2").body), `"units":12,"orders":3`)
	})
}
