package browser

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type eventJSON struct {
	Version int             `json:"version"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
}

func (s *service) events(id string) []eventJSON {
	s.t.Helper()
	type history struct{ Events []eventJSON }
	return call[history](s, "GET", "/orders/"+id+"/events", "").Events
}

func TestAStoryShowsWhatTheAPISays(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	o := s.create("ada")
	call[orderJSON](s, "POST", "/orders/"+o.ID+"/items", `{"productId":"2222","amount":8}`)
	o = s.pay(o.ID)
	s.inViews(o)
	p := show(open(t), s, "/console/#/order/"+o.ID, look{})
	p.waits("the story is there", `document.querySelector('#story .cards')`)

	cards := value[[]string](p, `[...document.querySelectorAll('#story .card')].map((card) => card.innerText)`)
	for i, parts := range [][]string{
		{"State", "paid", "3", "ada", "3 × 1111, 8 × 2222"},
		{"Outbox", "up to version 3", "none"},
		{"Read model", "up to version 3", "none"},
	} {
		for _, part := range parts {
			if !strings.Contains(cards[i], part) {
				t.Errorf("card %d says\n%s\nwant %q", i+1, cards[i], part)
			}
		}
	}
	events := s.events(o.ID)
	rows := p.cells("#story .scroll table")
	shown := value[[]string](p, `[...document.querySelectorAll('#story .scroll pre')].map((pre) => pre.textContent)`)
	if len(rows) != 3 || len(shown) != 3 || len(events) != 3 {
		t.Fatalf("the API has %d events, the page %d rows and %d messages", len(events), len(rows), len(shown))
	}
	for i, e := range events {
		if rows[i][0] != fmt.Sprint(e.Version) || rows[i][1] != e.Type || rows[i][3] != "in the views" {
			t.Errorf("row %d says %q, want %d %s in the views", i+1, rows[i], e.Version, e.Type)
		}
		if !sameJSON(t, shown[i], string(e.Data)) {
			t.Errorf("row %d shows\n%s\nwant\n%s", i+1, shown[i], e.Data)
		}
	}
	type story struct{ Steps, Spans []json.RawMessage }
	told := call[story](s, "GET", "/console/orders/"+o.ID, "")
	if len(told.Steps) < 20 || len(told.Spans) < 10 {
		t.Errorf("the API tells %d steps and %d spans", len(told.Steps), len(told.Spans))
	}
	p.waits("there is a bar for each step and each span", fmt.Sprintf(`document.querySelectorAll('.bars .stroke').length === %d`,
		len(told.Steps)+len(told.Spans)))

	// The page follows the order by itself.
	other := s.create("grace")
	p.goTo("#/order/" + other.ID)
	p.waits("the other order is pending", `document.querySelector('.chip.pending')`)
	s.pay(other.ID)
	p.waits("the page shows that it is paid", `document.querySelector('#story .card .chip.paid')`)
	p.waits("and in the views", `document.querySelectorAll('#story .chip.applied').length === 2`)

	p.goTo("#/order/nobody")
	p.waits("the page says so", `document.querySelector('#story').innerText.includes('There is no order with this id.')`)
	p.expects("404")
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return reflect.DeepEqual(x, y)
}

func TestListsShowWhatTheAPISays(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	var last orderJSON
	for i := range 30 {
		last = s.create([]string{"ada", "grace"}[i%2])
		if i%3 == 0 {
			last = s.pay(last.ID)
		}
	}
	s.inViews(last)
	p := show(open(t), s, "/console/#/orders", look{})
	want := func(query string) (ids []string) {
		type list struct{ Orders []orderJSON }
		for _, o := range call[list](s, "GET", "/orders?"+query, "").Orders {
			ids = append(ids, o.ID)
		}
		return ids
	}
	holds := func(what, query string) {
		t.Helper()
		ids := want(query)
		if len(ids) == 0 {
			t.Fatalf("the API has no order for %s", query)
		}
		text, _ := json.Marshal(ids)
		p.waits(what, `JSON.stringify([...document.querySelectorAll('#list tbody a')].map((a) => a.title)) === `+fmt.Sprintf("%q", text))
	}
	holds("the newest orders are listed", "limit=25")
	lag := p.text("#lag")
	for _, part := range []string{"Events that the broker does not have\n0", "order-summary", "s ago"} {
		if !strings.Contains(lag, part) {
			t.Errorf("how far behind: %q, want %q", lag, part)
		}
	}
	if parked := p.text("#parked"); parked != "No order is parked." {
		t.Errorf("parked orders: %q", parked)
	}
	p.evaluate("more", `document.getElementById('more').click()`)
	holds("all orders are listed", "limit=200")
	if hidden := value[bool](p, `document.getElementById('more').hidden`); !hidden {
		t.Error("the page offers more than all orders")
	}
	choose := func(name, value string) {
		p.evaluate("choose", fmt.Sprintf(`{ const field = document.getElementById('filters').elements[%q]; field.value = %q;
			field.dispatchEvent(new Event('change', { bubbles: true })); }`, name, value))
	}
	choose("status", "paid")
	holds("the paid orders are listed", "limit=200&status=paid")
	choose("buyerId", "grace")
	holds("those of a buyer are listed", "limit=200&status=paid&sort=-createdAt&buyerId=grace")
	choose("sort", "createdAt")
	holds("the oldest come first", "limit=200&status=paid&sort=createdAt&buyerId=grace")
	if !slices.ContainsFunc(p.cells("#list"), func(row []string) bool { return row[1] == "grace" && row[2] == "paid" }) {
		t.Errorf("the list has the rows %q", p.cells("#list"))
	}
	choose("buyerId", "nobody")
	p.waits("nothing fits", `document.getElementById('orders-note').innerText === 'No order fits.'`)

	first := want("limit=1")[0]
	p.evaluate("the first answer comes last", `{ const ask = fetch; let first = true; window.fetch = async (...what) => {
		const late = first && String(what[0]).startsWith('/orders?');
		if (late) first = false;
		const answer = await ask(...what);
		if (late) await new Promise((then) => setTimeout(then, 300));
		if (late) window.late = true;
		return answer; }; }`)
	choose("buyerId", "")
	choose("status", "")
	choose("sort", "-createdAt")
	p.waits("the late answer is there", "window.late")
	holds("the newest orders are listed again", "limit=25")
	p.evaluate("follow the first link", `document.querySelector('#list tbody a').click()`)
	p.waits("the story of the first order", `document.getElementById('order-title').innerText.includes(`+fmt.Sprintf("%q", first)+`)`)
}

func TestAnAlertBecomesABannerWithItsRunbook(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{})
	post := func(status string) {
		call[any](s, "POST", "/console/alerts", `{"alerts":[{"status":"`+status+`","fingerprint":"1","startsAt":"2026-11-29T12:00:00Z",
			"labels":{"alertname":"HexordersDown","severity":"page"},
			"annotations":{"summary":"A process of hexorders does not answer.","runbook":"docs/operate.md#hexordersdown"}}]}`)
	}
	post("firing")
	p.waits("the banner is there", `document.querySelector('#alerts p')`)
	if banner := p.text("#alerts"); !strings.Contains(banner, "HexordersDown") || !strings.Contains(banner, "does not answer") {
		t.Errorf("the banner says %q", banner)
	}
	p.evaluate("open the runbook", `document.querySelector('#alerts a').click()`)
	p.waits("the runbook is there", `document.getElementById('runbook-text').innerText.startsWith('### HexordersDown')`)
	if text := p.text("#runbook-text"); strings.Contains(text, "HexordersNobodyPublishes\n") {
		t.Errorf("the runbook has more than its section:\n%s", text)
	}
	post("resolved")
	p.waits("the banner is gone", `!document.querySelector('#alerts p')`)
}

// Two processes over one file: each console shows what its process sees.
func TestRolesApartSayWhatTheyDoNotSee(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/shared.db"
	settings := map[string]string{"HEXORDERS_SQLITE_PATH": file}
	api, worker := serve(t, settings, "serve", "--roles", "api"), serve(t, settings, "serve", "--roles", "relay,views")
	chromium := open(t)
	p := show(chromium, api, "/console/", look{})
	p.waits("the page says what it does not see",
		`document.getElementById('scope').innerText.includes('the roles api. Steps of relay, views happen')`)
	elsewhere := `[...document.querySelectorAll('.box.elsewhere')].map((box) => box.dataset.box).sort()`
	if got := value[[]string](p, elsewhere); !slices.Equal(got,
		[]string{"Outbox", "Parking", "Publisher", "ReadModelStore", "Subscriber", "broker", "engine", "relay"}) {
		t.Errorf("not in the process of the API are %q", got)
	}
	o := api.create("ada")
	p.waits("the command is seen up to the store", `document.querySelectorAll('.box.lit').length === 7`)
	api.inViews(o) // the store is shared, and so is what a story tells
	p.close()

	p = show(chromium, worker, "/console/", look{})
	p.waits("the event is seen from the outbox on", `document.querySelectorAll('.box.lit').length === 8`)
	p.goTo("#/orders")
	p.waits("the page says where lists are", `document.getElementById('orders-note').innerText.includes('does not serve the API')`)
	p.expects("404")
}

// The adapters of the page are those of the settings, and a message that Kafka refuses is shown with its repair.
func TestMongoDBAndKafkaStandInTheirBoxes(t *testing.T) {
	t.Parallel()
	settings := mongoAndKafka(t, "4096")
	s := serve(t, settings)
	chromium := open(t)
	p := show(chromium, s, "/console/", look{})
	p.waits("the adapters are there", `document.querySelector('[data-box=broker] .what')?.textContent === 'kafka'`)
	for box, want := range map[string]string{"store": "mongodb", "readmodel": "mongodb/readmodel", "broker": "kafka"} {
		if got := value[string](p, `document.querySelector('[data-box=`+box+`] .what').textContent`); got != want {
			t.Errorf("in box %s stands %q, want %q", box, got, want)
		}
	}
	var lines []string
	for i := range 150 {
		lines = append(lines, fmt.Sprintf(`{"productId":"product-%d-%s","amount":1}`, i, strings.Repeat("x", 30)))
	}
	o := call[orderJSON](s, "POST", "/orders", `{"buyerId":"ada","items":[`+strings.Join(lines, ",")+`]}`)
	p.waits("the order is parked in the picture", `document.querySelector('[data-box=Parking].lit.failed')`)
	p.goTo("#/orders")
	p.waits("the order is parked in the list", `document.querySelector('#parked .command')`)
	repair := "hexorders outbox retry " + o.ID
	if got := value[string](p, `document.querySelector('#parked .command code').textContent`); got != repair {
		t.Errorf("the repair is %q, want %q", got, repair)
	}
	p.evaluate("copy", `navigator.clipboard.writeText = async (text) => { window.copied = text; };
		document.querySelector('#parked .command button').click()`)
	p.waits("it is copied", `document.querySelector('#parked .command button').innerText === 'copied'`)
	if got := value[string](p, "copied"); got != repair {
		t.Errorf("copied is %q, want %q", got, repair)
	}
	p.goTo("#/order/" + url.PathEscape(o.ID))
	p.waits("the story says where the event is", `document.querySelector('#story .chip.parked')`)
	if card := value[string](p, `document.querySelectorAll('#story .card')[1].innerText`); !strings.Contains(card, repair) ||
		!strings.Contains(card, "From version 1") || !strings.Contains(card, "up to version 0") {
		t.Errorf("the outbox says\n%s", card)
	}
}
