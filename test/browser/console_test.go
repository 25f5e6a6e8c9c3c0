package browser

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"hexorders/adapters/console"
)

// The service goes and comes back. So does the page, by itself, and goes on where it was.
func TestThePageComesBackWithTheService(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	settings := map[string]string{"HEXORDERS_HTTP_ADDR": address, "HEXORDERS_SQLITE_PATH": t.TempDir() + "/a.db"}
	s := serve(t, settings)
	p := show(open(t), s, "/console/", look{})
	s.create("ada")
	p.waits("a command is seen", `document.querySelectorAll('#runs button').length === 1`)
	for i, end := range []func(*service){(*service).stop, func(s *service) { s.kill() }} {
		end(s)
		p.waits("the page says that the service is away", `document.getElementById('live').className === 'away'`)
		s = serve(t, settings)
		p.waits("the page is back", `document.getElementById('live').className === 'live'`)
		s.create("grace")
		p.waits("the next command is seen", fmt.Sprintf(`document.querySelectorAll('#runs button').length === %d`, i+2))
	}
	p.expects("net::ERR_")
}

// What can be used, and every part of the page, has a name for those who do not see it.
func TestTheAccessibilityTreeHasNames(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	o := s.create("ada")
	s.inViews(o)
	chromium := open(t)
	for path, ready := range map[string]string{
		"/console/": `document.querySelectorAll('.box.lit').length >= 15`, "/console/#/orders": `document.querySelector('#list tbody')`,
		"/console/#/order/" + o.ID: `document.querySelector('.bars')`, "/console/#/map": `document.querySelector('#services table')`,
		"/console/?lang=th": `document.querySelectorAll('.box.lit').length >= 15`,
	} {
		p := show(chromium, s, path, look{features: map[string]string{"prefers-reduced-motion": "reduce"}})
		p.waits("the page shows "+path, ready)
		found, boxes := p.names()
		if found["button"] == 0 && strings.Contains(path, "lang") || found["link"] < 4 || found["heading"] < 2 || found["combobox"] < 1 {
			t.Errorf("%s: in the tree are %v: the check watches over too little", path, found)
		}
		if path == "/console/" && boxes != 2 {
			t.Errorf("%d of two boxes say what they are", boxes)
		}
		p.close()
	}
}

// names fails the test for everything in the page's accessibility tree that can be used and has no name. It returns how many
// there are by role, and how many of two boxes of the hexagon say what they are.
func (p *page) names() (found map[string]int, boxes int) {
	p.t.Helper()
	tree, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		p.t.Fatal(err)
	}
	found = map[string]int{}
	for _, node := range tree.Nodes {
		role := text(node.Role)
		if node.Ignored || !slices.Contains([]string{"button", "link", "textbox", "combobox", "heading", "region", "navigation",
			"group", "image", "img", "form", "Details", "DisclosureTriangle"}, role) {
			continue
		}
		found[role]++
		if name := text(node.Name); name == "adapter, store, sqlite" || name == "port, OrderStore" {
			boxes++
		}
		if text(node.Name) == "" && role != "group" && role != "Details" { // the details element is a group without a name
			p.t.Errorf("a %s has no name", role)
		}
	}
	return found, boxes
}

func text(v *accessibility.Value) (s string) {
	if v != nil && v.Value != nil {
		s = strings.Trim(string(v.Value), `"`)
	}
	return s
}

func TestTheKeyboardReachesEveryBox(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{})
	reached := map[string]bool{}
	for range 60 {
		p.run("press Tab", chromedp.KeyEvent(kb.Tab))
		box := value[string](p, `document.activeElement.dataset.box ?? ''`)
		if box == "" {
			continue
		}
		reached[box] = true
		if box == "relay" {
			p.run("press Enter", chromedp.KeyEvent(kb.Enter))
			if panel := p.text("#box h3"); !strings.HasPrefix(panel, "relay") {
				t.Errorf("after Enter on relay the panel is about %q", panel)
			}
			if pressed := value[string](p, `document.querySelector('[data-box=relay]').getAttribute('aria-pressed')`); pressed != "true" {
				t.Errorf("relay is pressed: %s", pressed)
			}
		}
	}
	if len(reached) != 17 {
		t.Errorf("Tab reaches %d boxes, want 17: %v", len(reached), reached)
	}
}

// Without a mouse one gets from a list to an order's story, and breaks the demo.
func TestTheKeyboardIsEnough(t *testing.T) {
	t.Parallel()
	s, chromium := demo(t), open(t)
	o := s.create("ada")
	s.inViews(o)
	tabTo := func(p *page, element string) {
		t.Helper()
		for range 40 {
			p.run("press Tab", chromedp.KeyEvent(kb.Tab))
			if value[bool](p, "document.activeElement === "+element) {
				return
			}
		}
		t.Fatalf("Tab does not reach %s", element)
	}
	p := show(chromium, s, "/console/#/orders", look{})
	p.waits("the order is listed", `document.querySelector('#list tbody a')`)
	tabTo(p, `document.querySelector('#list tbody a')`)
	p.run("press Enter", chromedp.KeyEvent(kb.Enter))
	p.waits("the story is there", fmt.Sprintf(`document.getElementById('order-title').innerText.includes(%q)`, o.ID))
	p.close()

	p = show(chromium, s, "/console/demo/break.html", look{})
	tabTo(p, `document.getElementById('relay')`)
	p.run("press the space bar", chromedp.KeyEvent(" "))
	p.waits("the relay is paused", `document.getElementById('relay').getAttribute('aria-pressed') === 'true'`)
	if !value[bool](p, `document.activeElement.id === 'relay'`) {
		t.Error("the button has lost the focus")
	}
}

// At 400 pixels only what is in a frame of its own is scrolled sideways (WCAG 2.2, 1.4.10).
func TestNoPartIsWiderThanANarrowWindow(t *testing.T) {
	t.Parallel()
	s, chromium := serve(t, nil), open(t)
	o := s.create("ada")
	s.inViews(o)
	spans := &console.Spans{}
	traced(spans, time.Now())
	narrow := func(p *page, what string) {
		t.Helper()
		if wide := value[int](p, "document.documentElement.scrollWidth"); wide > 400 {
			t.Errorf("%s is %d pixels wide", what, wide)
		}
	}
	for _, language := range []string{"en", "th"} {
		p := show(chromium, s, "/console/?lang="+language, look{400, 800, nil})
		for part, ready := range map[string]string{
			"#/": `document.querySelectorAll('.box').length === 17`, "#/orders": `document.querySelector('#list tbody a')`,
			"#/order/" + o.ID:         `document.querySelector('.bars')`,
			"#/runbook/hexordersdown": `document.getElementById('runbook-text').innerText`,
		} {
			p.goTo(part)
			p.waits(part+" is there", ready)
			narrow(p, part+" in "+language)
		}
		p.close()
		p = show(chromium, within(t, spans), "/console/?lang="+language+"#/map", look{400, 800, nil})
		p.waits("the map is drawn", `document.querySelector('svg.map')`)
		narrow(p, "the map in "+language)
		p.close()
	}
}

func TestReducedMotionMovesNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{features: map[string]string{"prefers-reduced-motion": "reduce"}})
	p.evaluate("watch the boxes", `window.moved = 0;
		new MutationObserver((changes) => { moved += changes.filter(({ target }) => target.classList.contains('now')).length; })
			.observe(document.getElementById('picture'), { attributes: true, subtree: true, attributeFilter: ['class'] })`)
	s.create("ada")
	p.waits("the command is there", `document.querySelectorAll('.box.lit').length === 15`)
	if moved := value[int](p, "moved"); moved != 0 {
		t.Errorf("%d times a box was the one at work", moved)
	}
	if display := value[string](p, `getComputedStyle(document.getElementById('dot')).display`); display != "none" {
		t.Errorf("the dot is there: %s", display)
	}
}

func TestTheLanguageIsChosenAndRemembered(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{})
	if title := p.text("#hexagon-title"); title != "The hexagon at work" {
		t.Errorf("at first the page says %q", title)
	}
	p.evaluate("choose Thai", `{ const select = document.getElementById('language'); select.value = 'th';
		select.dispatchEvent(new Event('change')); }`)
	isThai := `document.documentElement.lang === 'th' && document.getElementById('hexagon-title').innerText === 'Hexagon ขณะทำงาน' &&
		document.querySelector('[data-box=http]').getAttribute('aria-label').startsWith('adapter')`
	p.waits("the page is in Thai", isThai)
	p.run("load again", chromedp.Reload())
	p.waits("the page is still in Thai", isThai)
}

// A read that names the order lights the last box.
func TestAReadOfTheOrderLightsTheViews(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{})
	o := s.create("ada")
	call[any](s, "GET", "/orders/"+o.ID+"/timeline?atLeastVersion=1", "")
	p.waits("the views are lit", `document.querySelector('[data-box=Views].lit')`)
}

func TestARefusedCommandIsShownAsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	o := s.pay(s.create("ada").ID)
	p := show(open(t), s, "/console/", look{})
	answer, err := http.Post(s.url+"/orders/"+o.ID+"/pay", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _ = answer.Body.Close(); answer.StatusCode != http.StatusConflict {
		t.Fatalf("a paid order is paid again: %s", answer.Status)
	}
	p.waits("the refusal is listed", `document.querySelector('#runs button')?.innerText.includes('refused')`)
	p.waits("and in the picture", `document.querySelector('[data-box=http].failed') && document.querySelector('[data-box=core].failed')`)
	if rows := p.cells("#run"); !slices.ContainsFunc(rows, func(row []string) bool {
		return row[0] == "HTTP" && strings.Contains(row[5], "409 Conflict")
	}) {
		t.Errorf("the table says %q", rows)
	}
}

// Each pair of text and ground can be read (WCAG 2.2, 1.4.3).
func TestTheColoursHaveContrast(t *testing.T) {
	t.Parallel()
	s, chromium := serve(t, nil), open(t)
	for _, scheme := range []string{"light", "dark"} {
		p := show(chromium, s, "/console/", look{features: map[string]string{"prefers-color-scheme": scheme}})
		for _, pair := range []string{
			"text ground", "text raised", "text chip", "quiet ground", "quiet raised", "quiet chip", "accent ground", "accent raised",
			"bad ground", "bad raised", "bad chip", "good ground", "good chip", "lit ground", "lit raised", "text adapter", "text port",
			"text inside", "text core", "text outside", "quiet adapter", "quiet port",
		} {
			a, b, _ := strings.Cut(pair, " ")
			contrast := value[float64](p, fmt.Sprintf(`((a, b) => {
				const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
				const long = (hex) => hex.length === 4 ? '#' + [...hex.slice(1)].map((c) => c + c).join('') : hex;
				const light = (name) => [1, 3, 5].map((i) => parseInt(long(colour(name)).slice(i, i + 2), 16) / 255)
					.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
					.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
				const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
				return (high + 0.05) / (low + 0.05);
			})(%q, %q)`, a, b))
			if contrast < 4.5 {
				t.Errorf("%s: %s has a contrast of %.2f", scheme, pair, contrast)
			}
		}
		p.close()
	}
}
