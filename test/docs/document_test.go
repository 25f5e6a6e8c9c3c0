package docs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// step is a command of a page and what the page shows below it.
type step struct {
	line    int // of the page, from 1 on
	command string
	output  string
}

// A page is Markdown. A fenced block whose first line begins with "$ " is a session: each line that does so is a
// command, with the lines after it for as long as they end in a backslash; all others are its output. A comment on the
// line before a block may say
//
//	<!-- only: embedded -->          typed over that set-up and no other
//	<!-- not executed: REASON -->    shown only
//
// and a block that has no such comment is typed over every set-up.
var comment = regexp.MustCompile(`^<!-- (only|not executed): (.+) -->$`)

// parse returns the commands for one set-up, in order, and the lines of the blocks that are neither sessions nor said
// to be shown only.
func parse(page, setup string) (steps []step, others []int, err error) {
	said := "" // by the comment before the block
	block := 0 // the line where it begins; 0: outside
	var session, skip, more bool
	for i, text := range strings.Split(page, "\n") {
		line := i + 1
		marked := comment.FindStringSubmatch(text)
		switch {
		case strings.HasPrefix(text, "```") && block == 0:
			block, session, more = line, false, false
			skip = said != "" && said != setup
			continue
		case strings.HasPrefix(text, "```"):
			if more {
				return nil, nil, fmt.Errorf("line %d: the block ends in the middle of a command", line)
			}
			block, said = 0, ""
			continue
		case block == 0 && marked == nil:
			if strings.HasPrefix(text, "<!--") {
				return nil, nil, fmt.Errorf("line %d: a comment that nobody understands: %s", line, text)
			}
			if text != "" {
				said = ""
			}
			continue
		case block == 0 && marked[1] == "only" && marked[2] != embedded && marked[2] != mongoKafka:
			return nil, nil, fmt.Errorf("line %d: no set-up is called %q", line, marked[2])
		case block == 0 && marked[1] == "only":
			said = marked[2]
			continue
		case block == 0:
			said = "not executed"
			continue
		}
		command, isCommand := strings.CutPrefix(text, "$ ")
		if line == block+1 {
			if session = isCommand; !session && said != "not executed" {
				others = append(others, block)
			}
		}
		if !session || skip {
			continue
		}
		switch last := len(steps) - 1; {
		case more:
			steps[last].command += "\n" + text
		case isCommand:
			steps = append(steps, step{line: line, command: command})
		default:
			steps[last].output += text + "\n"
		}
		more = (more || isCommand) && strings.HasSuffix(text, `\`)
	}
	if block > 0 {
		return nil, nil, fmt.Errorf("line %d: the block does not end", block)
	}
	return steps, others, nil
}

// What is different every time: ids, times, cursors, the folder that mktemp makes, and how long a Go test took.
var volatile = regexp.MustCompile(strings.Join([]string{
	`(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})`,
	`(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)`,
	`(?P<local_time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}|\d\d:\d\d:\d\d\.\d{3})`,
	`(?P<cursor>"nextCursor":"[\w-]+")`,
	`(?P<duration>\b\d+\.\d{2,3}s\b)`,
	`(?P<folder>/\S*/tmp\.[A-Za-z0-9]+)`,
}, "|"))

// ids are what a page calls an id, and what it is this time. Equal ones stay equal, and different ones different.
type ids struct{ page, real map[string]string }

func newIDs() *ids { return &ids{page: map[string]string{}, real: map[string]string{}} }

// compare says where an output differs from what the page shows, and learns the ids in it.
func (i *ids) compare(page, real string) error {
	want, got := split(page), split(real)
	for n := range max(len(want), len(got)) {
		var w, g part
		if n < len(want) {
			w = want[n]
		}
		if n < len(got) {
			g = got[n]
		}
		if w.kind != g.kind || w.kind == "text" && w.text != g.text || w.kind == "id" && !i.same(w.text, g.text) {
			return fmt.Errorf("it says %q where the page says %q. The page:\n%s\nThis time:\n%s", g.text, w.text, trim(page), trim(real))
		}
	}
	return nil
}

func (i *ids) same(page, real string) bool {
	if i.real[page] == "" && i.page[real] == "" {
		i.real[page], i.page[real] = real, page
	}
	return i.real[page] == real && i.page[real] == page
}

// inCommand puts the real ids in place of the page's.
func (i *ids) inCommand(command string) (string, error) {
	var err error
	command = volatile.ReplaceAllStringFunc(command, func(id string) string {
		if i.real[id] == "" {
			err = fmt.Errorf("%s is not in the output of an earlier command", id)
		}
		return i.real[id]
	})
	return command, err
}

// part is a piece of an output: "text", or of a kind that volatile names.
type part struct{ kind, text string }

func split(output string) (parts []part) {
	output = trim(output)
	kinds := volatile.SubexpNames()
	for {
		at := volatile.FindStringSubmatchIndex(output)
		if at == nil {
			return append(parts, part{"text", output})
		}
		kind := 1 + slices.IndexFunc(kinds[1:], func(name string) bool { return at[2*slices.Index(kinds, name)] >= 0 })
		parts = append(parts, part{"text", output[:at[0]]}, part{kinds[kind], output[at[0]:at[1]]})
		output = output[at[1]:]
	}
}

// trim leaves out what cannot be seen: space at the ends of lines, and empty lines at the end.
func trim(output string) string {
	lines := strings.Split(output, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func TestAPageIsRead(t *testing.T) {
	page := strings.ReplaceAll(`Text with $ a dollar.

'''
$ one
out 1

$ two \
  goes on
$ three
'''

<!-- only: embedded -->
'''sh
$ small
'''

<!-- only: mongodb+kafka -->

'''
$ large
out
'''

<!-- not executed: because -->
'''
$ rm -rf /
'''
'''
{"json": true}
'''
`, "'''", "```")
	steps, others, err := parse(page, mongoKafka)
	want := []step{{4, "one", "out 1\n\n"}, {7, "two \\\n  goes on", ""}, {9, "three", ""}, {20, "large", "out\n"}}
	if err != nil || !slices.Equal(steps, want) || !slices.Equal(others, []int{28}) {
		t.Errorf("got %+v, others at %v, error %v; want %+v, others at [28]", steps, others, err, want)
	}
	steps, _, err = parse(page, embedded)
	want[3] = step{14, "small", ""}
	if err != nil || !slices.Equal(steps, want) {
		t.Errorf("got %+v, error %v; want %+v", steps, err, want)
	}
	for _, wrong := range []string{
		"```\n$ one", "```\n$ one \\\n```", "<!-- only: postgres -->", "<!-- not excuted: a slip -->", "<!-- not executed -->",
	} {
		if steps, _, err := parse(wrong, embedded); err == nil {
			t.Errorf("%q is taken for %+v, want an error", wrong, steps)
		}
	}
}

// Each row is a page that is wrong in one way, and must be found to be.
func TestAWrongOutputIsFound(t *testing.T) {
	const (
		a = "01a20439-6aa1-7b23-b815-43b70de36f06"
		b = "01a20439-6ae9-728a-b84c-5faaf2c9ccf2"
		c = "01a20439-6aa1-7b23-b815-43b70de36f07"
		d = "01a20439-6ae9-728a-b84c-5faaf2c9ccf3"
	)
	for name, x := range map[string]struct {
		page, real []string
		good       bool
	}{
		"other ids":                      {[]string{a + " " + b, a}, []string{c + " " + d, c}, true},
		"another id where one was equal": {[]string{a, a}, []string{c, d}, false},
		"an equal id where one was not":  {[]string{a + b}, []string{c + c}, false},
		"ids that changed places":        {[]string{a + b, a}, []string{c + d, d}, false},
		"an id less":                     {[]string{a + "," + b}, []string{c + ","}, false},
		"other times":                    {[]string{`"2026-11-22T17:06:41.441Z" x`}, []string{`"2027-01-01T00:00:00.1Z" x`}, true},
		"no time":                        {[]string{`"2026-11-22T17:06:41.441Z"`}, []string{`""`}, false},
		"a date in place of a time":      {[]string{"17:06:41.441 INF"}, []string{"2026-11-22T17:06:41.441Z INF"}, false},
		"a slower test":                  {[]string{"x	0.004s"}, []string{"x	12.31s"}, true},
		"another folder":                 {[]string{"in /tmp/tmp.aB3/x.db,"}, []string{"in /var/T/1/tmp.99/x.db,"}, true},
		"another file in the folder":     {[]string{"in /tmp/tmp.aB3/x.db"}, []string{"in /tmp/tmp.aB3/y.db"}, false},
		"another word":                   {[]string{"status paid"}, []string{"status submitted"}, false},
		"another number":                 {[]string{`"version":3`}, []string{`"version":4`}, false},
		"another cursor":                 {[]string{`,"nextCursor":"WyJ4"}`}, []string{`,"nextCursor":"_-YX"}`}, true},
		"no cursor":                      {[]string{`,"nextCursor":"WyJ4"}`}, []string{`}`}, false},
		"a line more":                    {[]string{"one"}, []string{"one\ntwo"}, false},
		"a line less":                    {[]string{"one\ntwo"}, []string{"one"}, false},
		"nothing":                        {[]string{"one"}, []string{""}, false},
		"something":                      {[]string{""}, []string{"one"}, false},
		"space at the end":               {[]string{"one\n\n"}, []string{"one  \n"}, true},
		"space elsewhere":                {[]string{"one  two"}, []string{"one two"}, false},
	} {
		known := newIDs()
		var err error
		for i := range x.page {
			if err == nil {
				err = known.compare(x.page[i], x.real[i])
			}
		}
		if (err == nil) != x.good {
			t.Errorf("%s: error %v, want good=%v", name, err, x.good)
		}
	}
}

func TestCommandsGetTheRealIDs(t *testing.T) {
	known := newIDs()
	if err := known.compare("01a20439-6aa1-7b23-b815-43b70de36f06", "01a20439-6ae9-728a-b84c-5faaf2c9ccf2"); err != nil {
		t.Fatal(err)
	}
	got, err := known.inCommand("id=01a20439-6aa1-7b23-b815-43b70de36f06 # that one")
	if want := "id=01a20439-6ae9-728a-b84c-5faaf2c9ccf2 # that one"; got != want || err != nil {
		t.Errorf("got %q, error %v, want %q", got, err, want)
	}
	if got, err := known.inCommand("id=01a20439-6ae9-728a-b84c-5faaf2c9ccf2"); err == nil {
		t.Errorf("an id that the page has not shown becomes %q, want an error", got)
	}
}
