package console

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write static/contracts.json")

// contracts names the declaration in which the contract of each box stands.
var contracts = map[string][2]string{
	"Orders": {"ports/ports.go", "Orders"}, "OrderStore": {"ports/ports.go", "OrderStore"},
	"Outbox": {"ports/ports.go", "Outbox"}, "Publisher": {"ports/ports.go", "Publisher"},
	"Parking": {"ports/ports.go", "Parking"}, "Subscriber": {"ports/readside.go", "Subscriber"},
	"ReadModelStore": {"ports/readside.go", "ReadModelStore"}, "Views": {"ports/readside.go", "Views"},
	"app": {"app/orders.go", "Orders"}, "core": {"core/order/order.go", "Order"},
	"relay": {"app/relay/relay.go", "Relay"}, "engine": {"app/readside/engine.go", "Engine"},
}

type contract struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// The page shows the contracts as they stand in the code.
func TestContractsAreThoseOfTheCode(t *testing.T) {
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	all := map[string]contract{}
	for box, at := range contracts {
		all[box] = contract{at[0], declaration(t, at[0], at[1])}
	}
	if err := encoder.Encode(all); err != nil {
		t.Fatal(err)
	}
	const file = "static/contracts.json"
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error(file + " differs from the code: run `go test ./adapters/console -run TestContracts -update`")
	}
}

// declaration is an interface with its comments, and of any other type the comment only.
func declaration(t *testing.T, file, name string) string {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "../../"+file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE || g.Specs[0].(*ast.TypeSpec).Name.Name != name {
			continue
		}
		if _, isInterface := g.Specs[0].(*ast.TypeSpec).Type.(*ast.InterfaceType); !isInterface {
			return strings.TrimSpace(g.Doc.Text())
		}
		source, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := format.Source(source[files.Position(g.Doc.Pos()).Offset:files.Position(g.End()).Offset])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatalf("%s has no type %s", file, name)
	return ""
}
