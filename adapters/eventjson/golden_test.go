package eventjson

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var morning = time.Date(2026, time.March, 14, 8, 0, 0, 123_000_000, time.UTC)

// golden lists the files under testdata: every schema of every type that was ever written, and what is read from it. The
// messages are stored for ever, so a file is never changed: what is new gets a new file, which
//
//	go test ./adapters/eventjson -update
//
// writes together with its row here. The name of a file says its type and schema; the checksum (SHA-256) is what makes a
// change of the file a change of this page too.
var golden = map[string]struct {
	checksum string
	event    order.Event
}{
	"OrderCreated.1.json": {"7d512bf3b85b8b9eb567eaf3009611a3873801c169909fa54d5355f574f6acad",
		order.Created{ID: "order-1", Buyer: "9999",
			Items: []order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}}, At: morning}},
	"OrderCreated.1.empty.json": {"6ddbb096ab11ead262231d898a54bd545f43615e736a6b9752315f304662dbe0",
		order.Created{ID: "order-1", Buyer: "9999", At: morning}},
	"OrderItemAdded.1.json": {"3350d0ffff0fd9891c57b3e0a78898b3ff460a8afd3e62f9b0d7fdbfc1338798",
		order.ItemAdded{Product: "1111", Amount: 3, At: morning}},
	"OrderAmountChanged.1.json": {"075189a9e8e0231d13a632d868ecfd76dda3dedee17228f845d09f0e90096c61",
		order.AmountChanged{Product: "1111", Amount: 1, At: morning}},
	"OrderItemRemoved.1.json": {"1f7a1f278383376a554b971428e3bb220c2fb51f4e0f73efeeb4a3953f19ba2a",
		order.ItemRemoved{Product: "1111", At: morning}},
	"OrderSubmitted.1.json": {"3badc6804f5aecb57b87c00678d6d925d72102b7cca5db1e9a42c94b31201758",
		order.Submitted{Buyer: "9999", Items: []order.Item{{Product: "1111", Amount: 3}}, At: morning}},
	"OrderPaid.1.json": {"00e7b8fc83ab3654748b1b24b30d1864ba659fe809620765bbd2cebddc6eae28",
		order.Paid{At: morning}},
	"OrderCancelled.1.json": {"2928299dc80951c2f3dba7f6a91e1dac12fd7b8f785e56db1a3d0f8d108ee3bd",
		order.Cancelled{By: order.ByBuyer, Reason: "changed my mind", At: morning}},
	"OrderCancelled.1.no-reason.json": {"968427522f941566b1f3defcf2b59f9b0fc3b3d36db5b8608fce8dfd4cd18fd2",
		order.Cancelled{By: order.ByBuyer, At: morning}},
	"OrderCancelled.2.json": {"8270d413aac7725890a1f1e383a608651ab4c56c7e154bb2173207cc5134a1eb",
		order.Cancelled{By: order.ByBuyer, Reason: "changed my mind", At: morning}},
	"OrderCancelled.2.system.json": {"37218f43e1c52a81487a6fa6fa561176c84c2b0684e3a28e4f5ce7330a2c9af3",
		order.Cancelled{By: order.BySystem, At: morning}},
}

func TestEverySchemaEverWrittenIsRead(t *testing.T) {
	for file, want := range golden {
		typeName, _ := typeAndSchema(t, file)
		event, err := Event(ports.Message{Type: typeName, Payload: readGolden(t, file)})
		if err != nil || !reflect.DeepEqual(event, want.event) {
			t.Errorf("%s: got %#v and error %v, want %#v", file, event, err, want.event)
		}
	}
}

func TestAnUpcastPayloadSaysItsNewSchema(t *testing.T) {
	payload, err := upcast("OrderCancelled", []byte(`{"orderId":"o"}`))
	if want := `{"by":"buyer","orderId":"o","schema":2}`; err != nil || string(payload) != want {
		t.Errorf("got %s and error %v, want %s", payload, err, want)
	}
}

func TestTheNewestSchemaIsWrittenToTheByte(t *testing.T) {
	written, changed := writtenToday(t)
	for _, violation := range changed {
		t.Error(violation)
	}
	for typeName := range decoders {
		if written[typeName] == 0 {
			t.Errorf("%s has no golden file of schema %d: run go test ./adapters/eventjson -update", typeName, Schemas()[typeName])
		}
	}
}

// writtenToday counts the golden files of each type's newest schema, and says which of them are written otherwise today.
func writtenToday(t *testing.T) (written map[string]int, changed []string) {
	t.Helper()
	written = map[string]int{}
	for file, g := range golden {
		want, schema := typeAndSchema(t, file)
		if schema < Schemas()[want] {
			continue
		}
		typeName, body := encode("order-1", 7, g.event)
		payload, err := json.Marshal(body)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if golden := readGolden(t, file); typeName != want || string(payload) != string(golden) {
			changed = append(changed, fmt.Sprintf("%s: messages like it are stored; what is written now needs a schema of its own (upcast.go):\n"+
				" got %s %s\nwant %s %s", file, typeName, payload, want, golden))
		}
		written[want]++
	}
	return written, changed
}

// Each type has golden files of its schemas 1 to n, and n is what the upcasters lead to.
func TestNoSchemaIsForgotten(t *testing.T) {
	found := map[string]map[int]bool{}
	for file := range golden {
		typeName, schema := typeAndSchema(t, file)
		if found[typeName] == nil {
			found[typeName] = map[int]bool{}
		}
		found[typeName][schema] = true
	}
	for typeName, newest := range Schemas() {
		var want []int
		for schema := 1; schema <= newest; schema++ {
			want = append(want, schema)
		}
		if got := slices.Sorted(maps.Keys(found[typeName])); !slices.Equal(got, want) {
			t.Errorf("%s: golden files of schemas %v, want %v", typeName, got, want)
		}
		delete(found, typeName)
	}
	for typeName := range found {
		t.Errorf("golden files of %s, which is no type", typeName)
	}
	for typeName := range upcasters {
		if decoders[typeName] == nil {
			t.Errorf("upcasters of %s, which is no type", typeName)
		}
	}
}

func TestTheGoldenFilesAreAsTheyWere(t *testing.T) {
	for _, violation := range tampered(t, os.DirFS("testdata")) {
		t.Error(violation)
	}
}

func TestAGoldenFileIsNotTouchedUnnoticed(t *testing.T) {
	const file = "OrderCancelled.1.json"
	for name, x := range map[string]struct {
		touch func(fstest.MapFS)
		want  string
	}{
		"none":    {func(fstest.MapFS) {}, ""},
		"edited":  {func(files fstest.MapFS) { files[file].Data[len(files[file].Data)-3]++ }, file + " was changed"},
		"longer":  {func(files fstest.MapFS) { files[file].Data = append(files[file].Data, '\n') }, file + " was changed"},
		"removed": {func(files fstest.MapFS) { delete(files, file) }, file + " is gone"},
		"renamed": {func(files fstest.MapFS) { files["OrderCancelled.3.json"] = files[file] }, "OrderCancelled.3.json is not listed"},
	} {
		files := fstest.MapFS{}
		for file := range golden {
			files[file] = &fstest.MapFile{Data: append(readGolden(t, file), '\n')}
		}
		x.touch(files)
		if got := strings.Join(tampered(t, files), "\n"); (got == "") != (x.want == "") || !strings.Contains(got, x.want) {
			t.Errorf("%s: got %q, want %q", name, got, x.want)
		}
	}
}

// tampered compares a folder with the list above.
func tampered(t *testing.T, folder fs.FS) (violations []string) {
	t.Helper()
	found, err := fs.Glob(folder, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		content, err := fs.ReadFile(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		g, listed := golden[file]
		switch sum := fmt.Sprintf("%x", sha256.Sum256(content)); {
		case !listed:
			violations = append(violations, fmt.Sprintf("%s is not listed: add it with checksum %s", file, sum))
		case sum != g.checksum:
			violations = append(violations, file+" was changed: put it back, a new schema gets a new file")
		}
	}
	for file := range golden {
		if !slices.Contains(found, file) {
			violations = append(violations, file+" is gone: put it back, messages like it are stored")
		}
	}
	return violations
}

func typeAndSchema(t *testing.T, file string) (typeName string, schema int) {
	t.Helper()
	typeName, rest, _ := strings.Cut(file, ".")
	if _, err := fmt.Sscanf(rest, "%d.", &schema); err != nil || schema < 1 {
		t.Fatalf("%s: the name must be like OrderCreated.1.json, or OrderCreated.1.what-is-special.json", file)
	}
	return typeName, schema
}

// readGolden is a golden file without the line break at its end.
func readGolden(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.TrimSuffix(string(content), "\n"))
}
