package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEachPictureIsMadeOfItsText(t *testing.T) {
	pictures, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	if err != nil || len(pictures) == 0 {
		t.Fatalf("no pictures in %s, error %v", folder, err)
	}
	sources, err := filepath.Glob(filepath.Join(folder, "*.d2"))
	if err != nil || len(sources) != len(pictures) {
		t.Errorf("%d pictures of %d texts, error %v", len(pictures), len(sources), err)
	}
	for _, picture := range pictures {
		want, err := draw(strings.TrimSuffix(picture, ".svg") + ".d2")
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := os.ReadFile(picture); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its text makes, error %v: run make pictures", filepath.Base(picture), err)
		}
	}
}
