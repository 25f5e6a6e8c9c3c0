package docs

import "testing"

const walkthrough = "docs/walkthrough.md"

func TestTheWalkthroughIsTrue(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) { follow(t, w, walkthrough) })
}

func TestTheReadingSideIsTrue(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) { follow(t, w, "docs/reading-side.md") })
}

// A block that nobody types rots. In the walkthrough every one is typed or says why not.
func TestNoBlockOfTheWalkthroughIsLeftOut(t *testing.T) {
	_, others, err := parse(read(t, walkthrough), embedded)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range others {
		t.Errorf("%s:%d: a block that is not typed must say so: <!-- not executed: REASON -->", walkthrough, line)
	}
}

// README's order is placed at a service that runs already, as its second section has it.
func TestTheOrderOfTheReadmeIsTrue(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) {
		w.start()
		follow(t, w, "README.md")
	})
}
