package arch

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tour is a part of README's "Three reading tours". A tour that outgrows its lines is no longer what README promises:
// make the files smaller, or show the reader fewer of them.
type tour struct {
	name  string
	lines int      // at most, without tests
	files []string // patterns; README lists the same ones
}

var tours = []tour{
	{"An afternoon", 3000, []string{
		"core/order/order.go", "core/order/rules.go", "core/order/event.go", "core/order/id.go", "ports/ports.go", "app/orders.go",
		"app/relay/relay.go", "app/relay/inflight.go", "app/relay/leadership.go", "app/relay/loop.go", "app/relay/checkpoint.go",
		"adapters/eventjson/eventjson.go", "adapters/memory/store.go", "adapters/memory/outbox.go", "adapters/inproc/inproc.go",
		"adapters/inproc/log.go",
		"adapters/httpapi/httpapi.go", "adapters/httpapi/orders.go", "adapters/httpapi/problem.go",
		"cmd/hexorders/wire.go", "cmd/hexorders/stores.go",
	}},
	{"Production", 3700, []string{
		"adapters/mongodb/doc.go", "adapters/mongodb/connect.go", "adapters/mongodb/documents.go", "adapters/mongodb/errors.go",
		"adapters/mongodb/order_store.go", "adapters/mongodb/order_save.go", "adapters/mongodb/committer.go",
		"adapters/mongodb/transaction.go", "adapters/mongodb/commands.go", "adapters/mongodb/idempotency.go",
		"adapters/mongodb/outbox_*.go", "adapters/mongodb/lease.go", "adapters/mongodb/parking.go",
		"adapters/kafka/options.go", "adapters/kafka/publisher.go", "adapters/kafka/session.go", "adapters/kafka/producer.go",
		"adapters/kafka/headers.go", "adapters/kafka/errors.go", "adapters/kafka/topic_admin.go",
	}},
	{"The reading side", 2600, []string{
		"ports/readside.go", "ports/rows.go",
		"app/readside/doc.go", "app/readside/view.go", "app/readside/order.go", "app/readside/rows.go",
		"app/readside/order_summary.go", "app/readside/buyer_activity.go", "app/readside/timeline.go",
		"app/readside/engine.go", "app/readside/consumer.go", "app/readside/batch.go", "app/readside/retry.go",
		"app/readside/rebuild.go", "app/readside/queries.go", "app/readside/status.go",
		"adapters/memory/readmodel.go", "adapters/memory/rows.go", "adapters/memory/generations.go",
		"adapters/httpapi/views.go", "adapters/httpapi/orders_list.go",
	}},
}

// The border is one file that a reader has on one screen.
const portsLines = 130

func TestPortsStayOnOneScreen(t *testing.T) {
	if lines := countLines(t, "../../ports/ports.go"); lines == 0 || lines > portsLines {
		t.Errorf("ports/ports.go has %d lines, want at most %d", lines, portsLines)
	}
}

func TestToursStayReadable(t *testing.T) {
	for _, tour := range tours {
		lines := 0
		for _, pattern := range tour.files {
			n := countLines(t, "../../"+pattern)
			if n == 0 {
				t.Errorf("%s: no file fits %s", tour.name, pattern)
			}
			lines += n
		}
		t.Logf("%s: %d lines, at most %d", tour.name, lines, tour.lines)
		if lines > tour.lines {
			t.Errorf("%s has %d lines, want at most %d", tour.name, lines, tour.lines)
		}
	}
}

// README says of each tour which files it has, how many lines and minutes: a thousand lines an hour.
func TestREADMEHasTheTours(t *testing.T) {
	_, section, found := strings.Cut(read(t, "../../README.md"), "\n## Three reading tours\n")
	if !found {
		t.Fatal("README.md has no section \"Three reading tours\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	parts := strings.Split(section, "\n### ")[1:]
	if len(parts) != len(tours) {
		t.Fatalf("README.md has %d tours, want %d", len(parts), len(tours))
	}
	for i, tour := range tours {
		title, text, _ := strings.Cut(parts[i], "\n")
		want := fmt.Sprintf("%s: at most %s lines, %d minutes", tour.name, thousands(tour.lines), tour.lines*60/1000)
		if title != want {
			t.Errorf("README.md has the tour\n%s\nwant\n%s", title, want)
		}
		if got := filesNamed(text); !slices.Equal(got, slices.Sorted(slices.Values(tour.files))) {
			t.Errorf("README.md, %s: it lists\n%s\nwant\n%s", tour.name, strings.Join(got, "\n"), strings.Join(tour.files, "\n"))
		}
	}
}

// filesNamed reads the table of a tour: each row has a folder, then the files in it.
func filesNamed(text string) (files []string) {
	code := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		folder := code.FindStringSubmatch(cells[1])
		if folder == nil {
			continue
		}
		for _, name := range code.FindAllStringSubmatch(cells[2], -1) {
			files = append(files, filepath.ToSlash(filepath.Join(folder[1], name[1])))
		}
	}
	slices.Sort(files)
	return files
}

func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
