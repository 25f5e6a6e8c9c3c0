package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var consoleIsAt = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/console/`)

// demo starts `hexorders demo`. It is told to stop, because its service is a process of its own.
func demo(t testing.TB) *service {
	t.Helper()
	folder := t.TempDir()
	said, err := os.Create(filepath.Join(folder, "said"))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, cmd: exec.Command(program, "demo")}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = folder, said, said, dieWithUs()
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OTEL_") })
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // fails only when it has ended
		_ = s.cmd.Wait()
		if text, _ := os.ReadFile(said.Name()); t.Failed() {
			t.Logf("what the demo said:\n%s", text[:min(len(text), 4000)])
		}
	})
	eventually(t, "the demo says where it is", func() bool {
		text, _ := os.ReadFile(said.Name())
		if found := consoleIsAt.FindSubmatch(text); found != nil {
			s.url = string(found[1])
		}
		return s.url != ""
	})
	return s
}

// number is the JavaScript for a number that a list of the page Break it shows, counted from the top.
func number(list string, row int) string {
	return fmt.Sprintf("Number(document.querySelectorAll('#%s dd')[%d].textContent.replace(/\\D/g, ''))", list, row)
}

func (p *page) click(selector string) {
	p.t.Helper()
	p.evaluate("click "+selector, fmt.Sprintf("document.querySelector(%q).click()", selector))
}

func TestBreakItShowsTwoCountsThatDriftApart(t *testing.T) {
	t.Parallel()
	s := demo(t)
	p := show(open(t), s, "/console/demo/break.html", look{})
	place := func(then string) {
		t.Helper()
		before := value[int](p, number("outbox", 0))
		p.click("#place")
		p.waits("the orders are placed", fmt.Sprintf("%s >= %d && !document.getElementById('place').disabled",
			number("outbox", 0), before+20))
		p.waits(then, then)
	}
	toggle := func(button, pressed string) {
		t.Helper()
		p.click("#" + button)
		p.waits(button+" is pressed", fmt.Sprintf("document.getElementById(%q).getAttribute('aria-pressed') === %q", button, pressed))
	}
	const committed, inTopic, lost, waiting, parked = 0, 1, 2, 3, 4
	same := number("outbox", committed) + " === " + number("outbox", inTopic)
	place(same)

	toggle("relay", "true")
	place(number("outbox", waiting) + " === 20 && " + number("dual", inTopic) + " === 40") // the dual write needs no relay
	toggle("relay", "false")
	p.waits("the relay has caught up", same)

	toggle("broker", "true")
	place(number("dual", lost) + " === 20")
	toggle("broker", "false")
	p.waits("the relay has caught up", same)

	toggle("poison", "true")
	place(number("outbox", parked) + " === 1 && " + number("dual", lost) + " === 21")
	p.click("#repair")
	p.waits("the parked event is sent", same)
	got := value[[]int](p, "["+number("outbox", lost)+", "+number("dual", lost)+", "+number("dual", inTopic)+"]")
	if !slices.Equal(got, []int{0, 21, 59}) {
		t.Errorf("lost with the outbox, lost by the dual write, published by it: %v, want [0 21 59]", got)
	}

	toggle("views", "true")
	place(same)
	p.click("#delete")
	lacking := number("deleted", 0) + " === 100 && " + number("deleted", 1) + " === 20"
	p.waits("the page says that the views lack what was deleted", lacking)
	toggle("views", "false")
	p.waits("they lack it still", lacking)
	if text := p.text("#rebuild code"); !strings.HasSuffix(text, "/hexorders.db' hexorders views rebuild --from store") {
		t.Errorf("the repair is %q", text)
	}

	toggle("kill", "true")
	p.click("#place")
	p.waits("the process is another one", "document.getElementById('kill').getAttribute('aria-pressed') === 'false'")
	p.waits("the event of the order that was committed is lost too", number("dual", lost)+" > 21 && "+same)
	p.expects("net::ERR_") // the requests that the process took with it
	if n := value[int](p, number("outbox", lost)); n != 0 {
		t.Errorf("the outbox lost %d events", n)
	}
	if found, _ := p.names(); found["button"] != 9 || found["region"] != 3 {
		t.Errorf("in the tree are %v, want 9 buttons and 3 regions", found)
	}
	p.evaluate("speak Thai", "{ const l = document.getElementById('language'); l.value = 'th'; l.dispatchEvent(new Event('change')); }")
	if text := p.text("#place"); text != "สั่ง 20 order" {
		t.Errorf("in Thai the button says %q", text)
	}
}

func TestTheShopShowsAStatusWhenTheViewHasIt(t *testing.T) {
	t.Parallel()
	s := demo(t)
	chromium := open(t)
	breakIt := show(chromium, s, "/console/demo/break.html", look{})
	p := show(chromium, s, "/console/demo/shop.html", look{})
	says := func(answered, listed string) {
		t.Helper()
		p.waits("the API answered "+answered+", the list says "+listed, fmt.Sprintf(`(() => {
			const cells = document.querySelectorAll('#list tbody tr:first-child td');
			return cells[1]?.innerText === %q && cells[2]?.innerText === %q; })()`, answered, listed))
	}
	if !value[bool](p, "document.getElementById('order').disabled") {
		t.Error("an empty basket can be ordered")
	}
	p.click("[data-product='1111']")
	p.click("[data-product='1111']")
	p.click("[data-product='3333']")
	p.click("#order")
	says("pending (1)", "pending (1)")

	breakIt.click("#views")
	breakIt.waits("the views are stopped", "document.getElementById('views').getAttribute('aria-pressed') === 'true'")
	p.click("[data-command=submit]")
	says("submitted (2)", "pending (1)")
	p.click("[data-command=pay]")
	says("paid (3)", "pending (1)")
	breakIt.click("#views")
	says("paid (3)", "paid (3)")

	if found, _ := p.names(); found["button"] < 4 || found["region"] < 2 {
		t.Errorf("in the tree are %v: the check watches over too little", found)
	}
	id := value[string](p, "document.querySelector('#list a').title")
	type order struct {
		Status string
		Items  []struct {
			ProductID string `json:"productId"`
			Amount    int
		}
	}
	if o := call[order](s, "GET", "/orders/"+id, ""); o.Status != "paid" || len(o.Items) != 2 || o.Items[0].Amount != 2 {
		t.Errorf("the order is %+v, want tea twice and a mango, paid", o)
	}
}

func TestTheConsoleLeadsToBreakItInADemoOnly(t *testing.T) {
	t.Parallel()
	chromium := open(t)
	for _, c := range []struct {
		service *service
		hidden  bool
	}{{demo(t), false}, {serve(t, nil), true}} {
		p := show(chromium, c.service, "/console/", look{})
		if got := value[bool](p, "document.querySelector('[data-demo]').hidden"); got != c.hidden {
			t.Errorf("the link is hidden: %v, want %v", got, c.hidden)
		}
	}
}

func TestScreenshotsOfADemo(t *testing.T) {
	t.Parallel()
	s, chromium := demo(t), open(t)
	light := map[string]string{"prefers-color-scheme": "light", "prefers-reduced-motion": "reduce"}
	dark := map[string]string{"prefers-color-scheme": "dark", "prefers-reduced-motion": "reduce"}
	p := show(chromium, s, "/console/demo/break.html", look{})
	press := func(button string) {
		p.click("#" + button)
		p.waits(button+" is pressed", "document.getElementById('"+button+"').getAttribute('aria-pressed') === 'true'")
	}
	press("views")
	p.click("#place")
	p.waits("events are in the topic", number("outbox", 1)+" === 20")
	p.click("#delete")
	p.waits("they are deleted", number("deleted", 1)+" === 20")
	press("broker")
	p.click("#place")
	p.waits("events are lost", number("dual", 2)+" === 20")
	p.close()
	lost := number("dual", 2) + " === 20"
	ordered := "document.querySelector('[data-command]') || " +
		"(document.querySelector('[data-product]')?.click(), document.getElementById('order').click())"
	takePictures(t, chromium, s, []picture{
		{"break-light", "/console/demo/break.html?lang=en", lost, look{1240, 880, light}},
		{"break-400px", "/console/demo/break.html?lang=en", lost, look{400, 2090, dark}},
		{"break-thai", "/console/demo/break.html?lang=th", lost, look{1240, 880, light}},
		{"shop-light", "/console/demo/shop.html?lang=en", ordered, look{1240, 560, light}},
		{"shop-400px", "/console/demo/shop.html?lang=th", ordered, look{400, 900, dark}},
	})
}
