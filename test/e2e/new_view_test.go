package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/test/checker"
)

// newest is the view that came last.
const newest = "product-sales"

// A version with a view more finds a read model that was built without it. Everything else goes on, the new view says what to
// do, and a rebuild fills it.
func TestAViewThatIsNewIsFilledByARebuild(t *testing.T) {
	t.Parallel()
	// The version before had neither the rows of the new view nor its name in the list of what was built.
	t.Run("mongodb", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		fillsByARebuild(t, w.env, func() {
			database := w.mongo.Database(w.source.Database)
			if err := database.Collection("readmodel.1." + newest).Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
			changed, err := database.Collection("readmodel").UpdateOne(t.Context(), bson.D{},
				bson.D{{Key: "$pull", Value: bson.D{{Key: "live.views", Value: newest}}}})
			if err != nil || changed.ModifiedCount != 1 {
				t.Fatalf("%+v, %v", changed, err)
			}
		}, func() []checker.Record {
			h, err := w.reader.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return h.Topic
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		fillsByARebuild(t, d.env, func() {
			var drop []string // what reads a table goes before it
			d.scan(`SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') AND name LIKE '%`+newest+`' ORDER BY type DESC`,
				func(rows *sql.Rows) error {
					var kind, name string
					err := rows.Scan(&kind, &name)
					drop = append(drop, fmt.Sprintf(`DROP %s "%s"`, kind, name))
					return err
				})
			drop = append(drop, `UPDATE generations SET views = (SELECT json_group_object(key, value) FROM json_each(views) WHERE key <> '`+newest+`')`)
			for _, statement := range drop {
				if _, err := d.db.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			if len(drop) != 3 {
				t.Fatalf("the rows of the view are not where they were looked for: %v", drop)
			}
		}, d.topic)
	})
}

func fillsByARebuild(t *testing.T, env environment, forget func(), topic func() []checker.Record) {
	t.Helper()
	o := &operator{t: t, client: newClient(env["HEXORDERS_HTTP_ADDR"])}
	asks := func(path string) answer {
		t.Helper()
		a, err := o.client.do(t.Context(), "GET", path, "")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	says := func(args ...string) string {
		t.Helper()
		said, code := ends(t, exec.Command(program, args...), env)
		if code != 0 {
			t.Fatalf("hexorders %s: exit code %d\n%s", strings.Join(args, " "), code, said)
		}
		return said
	}
	const path = "/products/1111/sales"
	sold := func(what, want string, order string) {
		t.Helper()
		eventually(t, patience, what, func() bool {
			a := asks(path + "?atLeastVersion=" + order + "/2")
			return a.status == http.StatusOK && strings.Contains(string(a.body), want)
		})
	}

	p := launch(t, "serve", env, "serve").ready()
	before := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`)
	o.does(before, "pay", "")
	sold("the views are fed", `"units":3,"orders":1`, before)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	forget()

	p = launch(t, "serve", env, "serve").ready()
	p.says("not built", takeOverLimit)
	p.says(newest, takeOverLimit)
	after := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":4}]}`)
	o.does(after, "pay", "")
	if a := asks(path); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"view-not-built"`) ||
		!strings.Contains(string(a.body), "hexorders views rebuild") {
		t.Errorf("GET %s: answer %s, want 503 view-not-built that says what to do", path, a)
	}
	eventually(t, patience, "the other views go on", func() bool {
		a := asks("/buyers/9999/activity?atLeastVersion=" + after + "/2")
		return a.status == http.StatusOK && strings.Contains(string(a.body), `"paid":2`)
	})
	if said := says("views", "status"); !strings.Contains(said, "not built: "+newest) {
		t.Errorf("`hexorders views status` says\n%swant that %s is not built", said, newest)
	}

	says("views", "rebuild")
	if a := asks(path); a.status != http.StatusOK || !strings.Contains(string(a.body), `"units":7,"orders":2`) {
		t.Errorf("GET %s after the rebuild: answer %s, want 7 units of 2 orders", path, a)
	}
	again := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":5}]}`)
	o.does(again, "pay", "")
	sold("the new view is fed", `"units":12,"orders":3`, again)
	viewsOf(t, p, topic())
}
