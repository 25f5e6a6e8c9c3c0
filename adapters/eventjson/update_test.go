package eventjson

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hexorders/core/order"
)

var update = flag.Bool("update", false, "write the golden files of the schemas that have none, with their rows in golden_test.go")

// TestMain runs only TestGoldenFilesAreWritten with -update: the other tests have the table as it was before.
func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		if err := flag.Set("test.run", "^TestGoldenFilesAreWritten$"); err != nil {
			panic(err)
		}
	}
	m.Run()
}

// A golden file is a promise to other programs: look at what was written before you commit it.
func TestGoldenFilesAreWritten(t *testing.T) {
	if !*update {
		return
	}
	if _, changed := writtenToday(t); len(changed) > 0 {
		t.Fatalf("nothing is written, because an old golden file would change. %s", strings.Join(changed, "\n"))
	}
	if _, err := addGolden(".", slices.Collect(maps.Keys(golden)), oneOfEach(t)); err != nil {
		t.Fatal(err)
	}
}

// A new event gets its file and its row. A golden file is never written again, also where the program would write another today.
func TestAGoldenFileIsWrittenOnlyOnce(t *testing.T) {
	page, err := os.ReadFile("golden_test.go")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if err := os.Mkdir(filepath.Join(folder, "testdata"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("golden_test.go", page)
	event := order.Cancelled{By: order.BySystem, Reason: "1111", At: morning}

	listed := []string{"OrderCancelled.1.json", "OrderPaid.1.json"}
	added, err := addGolden(folder, listed, []order.Event{event, order.Paid{At: morning}})
	if err != nil || !slices.Equal(added, []string{"OrderCancelled.2.json"}) {
		t.Fatalf("got %v and error %v, want the one schema that has no file", added, err)
	}
	_, body := encode("order-1", 7, event)
	payload, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if got := read("testdata/OrderCancelled.2.json"); got != string(payload)+"\n" {
		t.Errorf("the file is %s, want %s", got, payload)
	}
	row := fmt.Sprintf("\t\"OrderCancelled.2.json\": {\"%x\",\n\t\torder.Cancelled{By: \"system\", Reason: \"1111\", At: morning}},\n}\n",
		sha256.Sum256(append(payload, '\n')))
	if got := read("golden_test.go"); !strings.Contains(got, row) || len(got) != len(page)+len(row)-len("}\n") {
		t.Errorf("the page has %d bytes after %d, want them to be the row\n%s", len(got), len(page), row)
	}

	write("testdata/OrderCancelled.2.json", []byte("old\n"))
	added, err = addGolden(folder, listed, []order.Event{event})
	if err == nil || len(added) > 0 || read("testdata/OrderCancelled.2.json") != "old\n" {
		t.Errorf("a file that was there: wrote %v, error %v, want an error", added, err)
	}
	if _, changed := writtenToday(t); len(changed) > 0 {
		t.Fatalf("nothing is written, because an old golden file would change. %s", strings.Join(changed, "\n"))
	}
	if _, err := addGolden(folder, []string{"OrderCancelled.2.json"}, []order.Event{event}); err != nil {
		t.Errorf("nothing is new: got error %v", err)
	}
	decode := decoders["OrderCancelled"]
	delete(decoders, "OrderCancelled") // encode knows the event, and nobody could read what it writes
	added, err = addGolden(folder, nil, []order.Event{event})
	decoders["OrderCancelled"] = decode
	if err == nil || !strings.Contains(err.Error(), "decoders has no \"OrderCancelled\"") || len(added) > 0 {
		t.Errorf("an event without a decoder: wrote %v, error %v, want an error", added, err)
	}
	write("golden_test.go", []byte("package eventjson\n"))
	if added, err := addGolden(folder, nil, []order.Event{event}); err == nil {
		t.Errorf("a page without the table: wrote %v, want an error", added)
	}
}

// addGolden writes a golden file for each of these events whose newest schema has none among those that are listed, and
// a row for each into the page. It touches no file that is there.
func addGolden(folder string, listed []string, events []order.Event) (added []string, err error) {
	page := filepath.Join(folder, "golden_test.go")
	var rows bytes.Buffer
	written := map[string][]byte{}
	for _, event := range events {
		typeName, body := encode("order-1", 7, event)
		if decoders[typeName] == nil {
			return nil, fmt.Errorf("nothing is written, because nobody could read it: eventjson.go, decoders has no %q, which encode "+
				"makes of %T", typeName, event)
		}
		file := fmt.Sprintf("%s.%d", typeName, Schemas()[typeName])
		if slices.ContainsFunc(listed, func(name string) bool { return strings.HasPrefix(name, file+".") }) {
			continue
		}
		payload, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		file += ".json"
		payload = append(payload, '\n')
		if _, err := os.Stat(filepath.Join(folder, "testdata", file)); err == nil {
			return nil, fmt.Errorf("testdata/%s is there and not listed: a golden file is never written again", file)
		}
		written[file] = payload
		fmt.Fprintf(&rows, "\t%q: {\"%x\",\n\t\t%s},\n", file, sha256.Sum256(payload), literal(event))
	}
	if len(written) == 0 {
		return nil, nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	table, rest, found := bytes.Cut(text, []byte("\n}\n"))
	if !found || !bytes.Contains(table, []byte("var golden = ")) {
		return nil, fmt.Errorf("%s has no table golden", page)
	}
	text, err = format.Source(slices.Concat(table, []byte("\n"), rows.Bytes(), []byte("}\n"), rest))
	if err != nil {
		return nil, err
	}
	for file, payload := range written {
		if err := os.WriteFile(filepath.Join(folder, "testdata", file), payload, 0o644); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(written)), os.WriteFile(page, text, 0o644)
}

// literal is the event as the rows have it: its fields by name, without those that are zero.
func literal(event order.Event) string {
	v := reflect.ValueOf(event)
	var fields []string
	for i := range v.NumField() {
		name, value := v.Type().Field(i).Name, v.Field(i)
		switch {
		case name == "At":
			fields = append(fields, "At: morning")
		case !value.IsZero():
			text := fmt.Sprintf("%#v", value.Interface())
			if value.Kind() == reflect.String {
				text = fmt.Sprintf("%q", value.String())
			}
			fields = append(fields, name+": "+text)
		}
	}
	return v.Type().String() + "{" + strings.Join(fields, ", ") + "}"
}
