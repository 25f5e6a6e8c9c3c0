package browser

import (
	"bytes"
	"cmp"
	"context"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

// largestPicture keeps the repository small.
const largestPicture = 120 << 10

// The pictures of docs/console are taken with `make screenshots`. Without it the pages are opened all the same, so that what
// the pictures need stays there.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	s, chromium := serve(t, nil), open(t)
	light := map[string]string{"prefers-color-scheme": "light", "prefers-reduced-motion": "reduce"}
	dark := map[string]string{"prefers-color-scheme": "dark", "prefers-reduced-motion": "reduce"}
	o := s.create("ada")
	o = s.pay(o.ID)
	s.create("grace")
	s.inViews(o)
	through := `document.querySelectorAll('.box.lit').length >= 15`
	traced := `[...document.querySelectorAll('.bars')].at(-1)?.innerText.includes('update views')`
	takePictures(t, chromium, s, []picture{
		{"hexagon-light", "/console/?lang=en", through, look{1240, 1180, light}},
		{"hexagon-dark", "/console/?lang=en", through, look{1240, 1180, dark}},
		{"hexagon-400px", "/console/?lang=en", through, look{400, 1400, light}},
		{"hexagon-thai", "/console/?lang=th", through, look{1240, 1180, light}},
		{"order-light", "/console/?lang=en#/order/" + o.ID, traced, look{1240, 1390, light}},
		{"order-400px", "/console/?lang=en#/order/" + o.ID, traced, look{400, 1900, dark}},
		{"orders-light", "/console/?lang=en#/orders", `document.querySelector('#list tbody tr')`, look{1240, 700, light}},
		{"map-light", "/console/?lang=en#/map", `document.querySelectorAll('.map .box').length === 3`, look{1240, 720, light}},
	})
}

// picture is a page as docs/console shows it, once ready is true of it.
type picture struct {
	file, path, ready string
	how               look
}

// takePictures opens the pages, which have to fit their windows.
func takePictures(t *testing.T, chromium context.Context, s *service, pictures []picture) {
	t.Helper()
	for _, shot := range pictures {
		p := show(chromium, s, shot.path, shot.how)
		p.waits(shot.file+" shows what it is for", shot.ready)
		if wide := value[int64](p, "document.documentElement.scrollWidth"); wide > shot.how.width {
			t.Errorf("%s is %d pixels wide, and the window %d", shot.file, wide, shot.how.width)
		}
		p.save(shot.file)
		p.close()
	}
}

// save writes a picture of what is in the window.
func (p *page) save(name string) {
	p.t.Helper()
	if !*screenshots {
		return
	}
	taken, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(taken))
	if err != nil {
		p.t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, fewColours(picture)); err != nil {
		p.t.Fatal(err)
	}
	if small.Len() > largestPicture {
		p.t.Errorf("%s takes %d bytes, more than %d", name, small.Len(), largestPicture)
	}
	file := filepath.Join(repository, "docs", "console", name+".png")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, small.Bytes(), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// fewColours is a picture with the 256 colours that it has most of, which a page does with, at half the size.
func fewColours(picture image.Image) image.Image {
	count := map[color.Color]int{}
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[picture.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return cmp.Compare(count[b], count[a]) })
	few := image.NewPaletted(bounds, palette[:min(256, len(palette))])
	nearest := map[color.Color]uint8{}
	for c := range count {
		nearest[c] = uint8(few.Palette.Index(c))
	}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			few.SetColorIndex(x, y, nearest[picture.At(x, y)])
		}
	}
	return few
}
