package readmodel_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The driver's BSON writer may change without notice (ADR 14), so one file of the project depends on it.
func TestOnlyTheReadModelUsesTheExperimentalPackage(t *testing.T) {
	const root = "../../.."
	var users []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imported := range file.Imports {
			if strings.HasPrefix(imported.Path.Value, `"go.mongodb.org/mongo-driver/v2/x/`) {
				users = append(users, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"adapters/mongodb/readmodel/documents.go"}; !slices.Equal(users, want) {
		t.Errorf("the driver's experimental packages are imported by %v, want %v", users, want)
	}
}
