package mongodb

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The driver's BSON writer may change without notice (ADR 14), so few files may depend on it.
func TestOnlyTheViewsUseTheExperimentalPackage(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range file.Imports {
			path, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(path, "go.mongodb.org/mongo-driver/v2/x/") {
				users = append(users, name)
			}
		}
	}
	if want := []string{"inbox.go", "view_documents.go"}; !slices.Equal(users, want) {
		t.Errorf("the driver's experimental packages are imported by %v, want %v", users, want)
	}
}
