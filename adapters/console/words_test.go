package console

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hexorders/core/order"
)

var (
	wordKey   = regexp.MustCompile(`(?m)(?:^    |, )(?:'([^']+)'|(\w+)): '`)
	usedWords = []*regexp.Regexp{
		regexp.MustCompile(`\bt\('([^']+)'`), regexp.MustCompile(`data-(?:text|label)="([^"]+)"`),
	}
	quoted      = regexp.MustCompile(`'(\w+)'`)
	placeholder = regexp.MustCompile(`\{\w+\}`)
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(static, "static/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// words are the texts of a language in i18n.js, by key.
func words(t *testing.T, language string) map[string]string {
	t.Helper()
	_, text, found := strings.Cut(page(t, "i18n.js"), "\n  "+language+": {\n")
	if !found {
		t.Fatalf("i18n.js has no language %s", language)
	}
	text, _, _ = strings.Cut(text, "\n  },")
	all := map[string]string{}
	for _, at := range wordKey.FindAllStringSubmatchIndex(text, -1) {
		key := text[max(at[2], at[4]):max(at[3], at[5])]
		value, _, _ := strings.Cut(text[at[1]:], "'")
		all[key] = value
	}
	return all
}

func TestEveryTextIsThereInBothLanguages(t *testing.T) {
	english, thai := words(t, "en"), words(t, "th")
	if len(english) < 80 {
		t.Fatalf("%d texts are found: the check watches over nothing", len(english))
	}
	for key, text := range english {
		got := slices.Sorted(slices.Values(placeholder.FindAllString(thai[key], -1)))
		want := slices.Sorted(slices.Values(placeholder.FindAllString(text, -1)))
		if thai[key] == "" || !slices.Equal(got, want) {
			t.Errorf("%s: in English %q, in Thai %q", key, text, thai[key])
		}
	}
	for key := range thai {
		if _, ok := english[key]; !ok {
			t.Errorf("%s is there in Thai only", key)
		}
	}
}

func TestThePageAsksForTextsThatAreThere(t *testing.T) {
	english, asked, named := words(t, "en"), map[string]bool{}, map[string]bool{}
	files, err := fs.Glob(static, "static/*.[jh]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimPrefix(file, "static/")
		if name == "i18n.js" {
			continue
		}
		text := page(t, name)
		for _, pattern := range usedWords {
			for _, found := range pattern.FindAllStringSubmatch(text, -1) {
				asked[found[1]], named[found[1]] = true, true
			}
		}
		for _, found := range quoted.FindAllStringSubmatch(text, -1) { // keys that come from a list
			named[found[1]] = true
		}
	}
	for key := range asked {
		if _, ok := english[key]; !ok {
			t.Errorf("the page asks for the text %s, which is not there", key)
		}
	}
	for key := range english {
		if prefix, _, made := strings.Cut(key, "."); !named[key] && !(made && (prefix == "about" || prefix == "sort")) {
			t.Errorf("nothing asks for the text %s", key)
		}
	}
}

// The list of orders can be narrowed to each status.
func TestEveryStatusCanBeChosen(t *testing.T) {
	want := "const STATUSES = [''"
	for _, status := range order.Statuses() {
		want += ", '" + string(status) + "'"
	}
	if want += "];"; !strings.Contains(page(t, "lists.js"), want) {
		t.Errorf("adapters/console/static/lists.js has no line %s", want)
	}
}
