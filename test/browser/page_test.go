package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// page is a tab with one page of the service in it.
type page struct {
	t     testing.TB
	ctx   context.Context
	close func() // closes the tab; the end of the test does too

	mu       sync.Mutex
	problems []string
	asked    []string // addresses
}

// look is how a page is looked at: the zero value is a wide window in the light.
type look struct {
	width, height int64
	features      map[string]string // media features: prefers-color-scheme, prefers-reduced-motion
}

// show opens a page of the service in a tab of a browser, such as "/console/#/orders". When the test ends, what went wrong
// in the page fails the test.
func show(chromium context.Context, s *service, path string, how look) *page {
	t := s.t
	t.Helper()
	tab, closeTab := chromedp.NewContext(chromium)
	ctx, cancel := context.WithTimeout(tab, 2*patience)
	p := &page{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatal(err)
	}
	p.close = func() { cancel(); closeTab() }
	t.Cleanup(func() {
		p.close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Error("the page: " + problem)
		}
		for _, address := range p.asked {
			if !strings.HasPrefix(address, s.url+"/") {
				t.Errorf("the page asked for %s, which is not of the service", address)
			}
		}
		if len(p.asked) < 5 {
			t.Errorf("the page asked for %q only: the check watches over nothing", p.asked)
		}
	})
	media := emulation.SetEmulatedMediaParams{}
	for name, value := range how.features {
		media.Features = append(media.Features, &emulation.MediaFeature{Name: name, Value: value})
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	if how.width == 0 {
		how.width, how.height = 1240, 1000
	}
	p.run("open "+path, chromedp.EmulateViewport(how.width, how.height), chromedp.Navigate(s.url+path))
	p.waits("the page is connected", `document.getElementById('live')?.className === 'live'`)
	return p
}

func (p *page) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		details, _ := json.Marshal(e.ExceptionDetails)
		p.problems = append(p.problems, string(details))
	case *runtime.EventConsoleAPICalled:
		for _, argument := range e.Args {
			p.problems = append(p.problems, fmt.Sprintf("console.%s: %s", e.Type, argument.Value))
		}
	case *log.EventEntryAdded:
		p.problems = append(p.problems, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.URL)
	}
}

// expects forgets the problems that a test has made itself.
func (p *page) expects(text string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, problem := range p.problems {
		if !strings.Contains(problem, text) {
			p.t.Error("the page: " + problem)
		}
	}
	p.problems = nil
}

func (p *page) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// value is what an expression of JavaScript is in the page.
func value[T any](p *page, expression string) (v T) {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string]("JSON.stringify("+expression+") ?? 'null'"))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		p.t.Fatalf("%s: %v in %s", expression, err, text)
	}
	return v
}

// waits until an expression is true, in the page.
func (p *page) waits(what, expression string) {
	p.t.Helper()
	eventually(p.t, what, func() bool { return value[bool](p, "Boolean("+expression+")") })
}

// goTo goes to another part of the console.
func (p *page) goTo(hash string) {
	p.t.Helper()
	p.evaluate("go to "+hash, fmt.Sprintf("location.hash = %q", hash))
}

// evaluate runs a script in the page.
func (p *page) evaluate(what, script string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](script)); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// text is what a reader sees of an element.
func (p *page) text(selector string) string {
	p.t.Helper()
	return value[string](p, fmt.Sprintf("(({ innerText, textContent }) => innerText ?? textContent)(document.querySelector(%q) ?? { innerText: '' })", selector))
}

// cells are the texts of a table's body, by row.
func (p *page) cells(selector string) [][]string {
	p.t.Helper()
	return value[[][]string](p, fmt.Sprintf(
		"[...document.querySelectorAll(%q)].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))", selector+" tbody tr"))
}
