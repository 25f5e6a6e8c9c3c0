package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Much of what the program prints and logs was written by others: ids, reasons, headers, answers of servers. A terminal
// obeys control characters in it: it moves its cursor, erases true lines and shows forged ones. So all that is not a
// graphic character is made visible first: ESC is printed as <U+001B>.

// visible returns text in which every character is graphic, so that it is one line.
func visible(text string) string {
	return replaceHidden(text, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// visibleLines keeps line breaks and tabs too.
func visibleLines(text string) string {
	return replaceHidden(text, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' && r != '\t' })
}

func replaceHidden(text string, hidden func(rune) bool) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text { // a byte that is not UTF-8 comes as U+FFFD, which is graphic
		if hidden(r) {
			_, _ = fmt.Fprintf(&b, "<U+%04X>", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// visibleOutput is where commands print text.
type visibleOutput struct{ to io.Writer }

func (o visibleOutput) Write(text []byte) (int, error) {
	if _, err := io.WriteString(o.to, visibleLines(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// visibleJSON escapes in JSON text what encoding/json leaves as it is: the control characters from U+007F on and those that
// set the direction of text. The JSON means the same.
func visibleJSON(text []byte) []byte {
	hidden := func(r rune) bool { return r >= utf8.RuneSelf-1 && !unicode.IsGraphic(r) }
	if !bytes.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range string(text) {
		switch high, low := utf16.EncodeRune(r); {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

// visibleJSONOutput is where programs that write JSON lines print them.
type visibleJSONOutput struct{ to io.Writer }

func (o visibleJSONOutput) Write(text []byte) (int, error) {
	if _, err := o.to.Write(visibleJSON(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// printJSON prints a value as one line of JSON.
func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(visibleJSONOutput{out})
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// visibleHandler makes what is logged visible before a handler for people gets it. That handler writes escape sequences
// itself, for its colours, so the text that it has written can no longer be told from them.
type visibleHandler struct{ slog.Handler }

func (h visibleHandler) Handle(ctx context.Context, r slog.Record) error {
	seen := slog.NewRecord(r.Time, r.Level, visibleInTint(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		seen.AddAttrs(visibleAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, seen)
}

func (h visibleHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return visibleHandler{h.Handler.WithAttrs(visibleAttrs(attributes))}
}

func (h visibleHandler) WithGroup(name string) slog.Handler {
	return visibleHandler{h.Handler.WithGroup(visibleInTint(name))}
}

func visibleAttrs(attributes []slog.Attr) []slog.Attr {
	seen := make([]slog.Attr, len(attributes))
	for i, a := range attributes {
		seen[i] = visibleAttr(a)
	}
	return seen
}

func visibleAttr(a slog.Attr) slog.Attr {
	a.Key, a.Value = visibleInTint(a.Key), a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(visibleInTint(a.Value.String()))
	case slog.KindGroup:
		a.Value = slog.GroupValue(visibleAttrs(a.Value.Group())...)
	case slog.KindAny:
		text := visibleInTint(fmt.Sprintf("%+v", a.Value.Any()))
		if _, isError := a.Value.Any().(error); isError {
			a.Value = slog.AnyValue(errors.New(text))
		} else {
			a.Value = slog.StringValue(text)
		}
	}
	return a
}

// visibleInTint also breaks up the four characters \x1b: tint turns them into an ESC when it quotes a value.
func visibleInTint(text string) string {
	return strings.ReplaceAll(visible(text), `\x1b`, `<U+005C>x1b`)
}
