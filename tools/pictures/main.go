// The pictures of the documentation, made from text: docs/pictures/NAME.d2 becomes docs/pictures/NAME.svg. `make pictures`
// runs this. D2 lays the boxes out and is a Go module, so a picture needs nothing that is installed.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"oss.terrastruct.com/d2/d2graph"
	"oss.terrastruct.com/d2/d2layouts/d2dagrelayout"
	"oss.terrastruct.com/d2/d2lib"
	"oss.terrastruct.com/d2/d2renderers/d2svg"
	"oss.terrastruct.com/d2/d2themes/d2themescatalog"
	d2log "oss.terrastruct.com/d2/lib/log"
	"oss.terrastruct.com/d2/lib/textmeasure"
)

//go:embed classes.d2
var styles string

const folder = "../../docs/pictures"

func main() {
	sources, err := filepath.Glob(filepath.Join(folder, "*.d2"))
	if err == nil && len(sources) == 0 {
		err = fmt.Errorf("%s has no .d2 files", folder)
	}
	for _, source := range sources {
		if err == nil {
			err = write(source)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(source string) error {
	picture, err := draw(source)
	if err != nil {
		return err
	}
	return os.WriteFile(pictureOf(source), picture, 0o644)
}

func pictureOf(source string) string { return strings.TrimSuffix(source, ".d2") + ".svg" }

// draw makes the SVG of a source. It has the colours of a light and of a dark page, and a background of its own, so it can be
// read on either.
func draw(source string) ([]byte, error) {
	text, err := os.ReadFile(source)
	if err != nil {
		return nil, err
	}
	ruler, err := textmeasure.NewRuler()
	if err != nil {
		return nil, err
	}
	pad, noXML := int64(24), true
	options := d2svg.RenderOpts{
		Pad: &pad, NoXMLTag: &noXML, ThemeID: &d2themescatalog.NeutralDefault.ID, ThemeOverrides: light,
		DarkThemeID: &d2themescatalog.DarkMauve.ID, DarkThemeOverrides: dark,
	}
	ctx := d2log.With(context.Background(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	diagram, _, err := d2lib.Compile(ctx, styles+string(text), &d2lib.CompileOptions{
		Ruler: ruler,
		LayoutResolver: func(engine string) (d2graph.LayoutGraph, error) {
			if engine == "placed" {
				return placed, nil
			}
			return d2dagrelayout.DefaultLayout, nil
		},
	}, &d2svg.RenderOpts{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	for i := range diagram.Shapes {
		shape := &diagram.Shapes[i]
		for _, class := range shape.Classes {
			shape.Fill, shape.Stroke = classes[class].fill, classes[class].line
		}
	}
	for i := range diagram.Connections {
		for _, class := range diagram.Connections[i].Classes {
			diagram.Connections[i].Stroke = classes[class].line
		}
	}
	picture, err := d2svg.Render(diagram, &options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return picture, nil
}
