package console

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	wordKey   = regexp.MustCompile(`(?m)(?:^    |, )(?:'([^']+)'|(\w+)): '`)
	usedWords = []*regexp.Regexp{
		regexp.MustCompile(`\bt\('([^']+)'`), regexp.MustCompile(`data-(?:text|label)="([^"]+)"`),
	}
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

func TestEveryTextThatThePageAsksForIsThere(t *testing.T) {
	english, used := words(t, "en"), map[string]bool{}
	files, err := fs.Glob(static, "static/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text := page(t, strings.TrimPrefix(file, "static/"))
		for _, pattern := range usedWords {
			for _, found := range pattern.FindAllStringSubmatch(text, -1) {
				used[found[1]] = true
			}
		}
	}
	for key := range used {
		if _, ok := english[key]; !ok {
			t.Errorf("the page asks for the text %s, which is not there", key)
		}
	}
	// Some keys are made of what is shown: of a box, a sort, a state.
	made := regexp.MustCompile(`^(about|sort)\..+|live|connecting|away|outside|adapter|port|inside|core|applied|published|committed|parked|state|outbox|readModel|knownUpTo|upTo$`)
	for key := range maps.Keys(english) {
		if !used[key] && !made.MatchString(key) {
			t.Errorf("nothing asks for the text %s", key)
		}
	}
}
