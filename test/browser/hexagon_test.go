package browser

import (
	"slices"
	"strings"
	"testing"
)

// The boxes in the order in which a command gets there.
var wayOfACommand = []string{
	"client", "http", "Orders", "app", "core", "OrderStore", "store", "Outbox", "relay", "Publisher", "broker", "Subscriber",
	"engine", "ReadModelStore", "readmodel",
}

func TestACommandRunsThroughTheHexagonBoxByBox(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{})
	p.evaluate("watch the boxes", `window.lit = [];
		new MutationObserver((changes) => changes.forEach(({ target: box }) => {
			if (box.classList.contains('now') && lit.at(-1) !== box.dataset.box) lit.push(box.dataset.box);
		})).observe(document.getElementById('picture'), { attributes: true, subtree: true, attributeFilter: ['class'] })`)
	o := s.create("ada")
	p.waits("the command is through", `lit.includes('readmodel')`)
	if got := value[[]string](p, "lit"); !slices.Equal(got, wayOfACommand) {
		t.Errorf("lit were\n%q\nwant\n%q", got, wayOfACommand)
	}
	if title := p.text("#run-title"); !strings.HasPrefix(title, "Create · "+o.ID[:8]) {
		t.Errorf("in the picture is %q, want the creation of %s", title, o.ID)
	}
	for _, box := range wayOfACommand[1:] {
		if at := p.text("[data-box=" + box + "] .time"); !strings.HasSuffix(at, "ms") {
			t.Errorf("box %s says %q, want a time", box, at)
		}
	}
	var ports []string
	for _, row := range p.cells("#run") {
		ports = append(ports, row[0])
	}
	want := []string{"HTTP", "OrderStore", "Orders", "Outbox", "Publisher", "ReadModelStore", "Subscriber"}
	if slices.Sort(ports); !slices.Equal(ports, want) {
		t.Errorf("the table has the ports %q, want %q", ports, want)
	}
}

func TestABoxNamesItsAdapterItsFileAndItsContract(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := show(open(t), s, "/console/", look{})
	type state struct {
		Boxes map[string]struct{ Adapter, File string }
	}
	boxes := call[state](s, "GET", "/console/state", "").Boxes
	for box, of := range map[string]struct{ stands, contract string }{
		"store": {"store", "type OrderStore interface"}, "broker": {"publisher", "type Publisher interface"},
		"readmodel": {"readmodel", "type ReadModelStore interface"},
	} {
		p.evaluate("press Enter on "+box, `{ const box = document.querySelector('[data-box=`+box+`]'); box.focus();
			box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true })); }`)
		panel := p.text("#box")
		at := boxes[of.stands]
		if !strings.Contains(panel, at.Adapter) || !strings.Contains(panel, at.File) || at.File == "" {
			t.Errorf("the panel of %s says\n%s\nwant %+v", box, panel, at)
		}
		contract := value[string](p, `document.querySelector('#box details pre').textContent`)
		if !strings.Contains(contract, of.contract) {
			t.Errorf("the contract of %s is\n%s", box, contract)
		}
	}
}
