package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"hexorders/ports"
)

// newLogger writes text for people and JSON for programs; auto means text on a terminal.
func newLogger(to io.Writer, c *Config) *slog.Logger {
	file, isFile := to.(*os.File)
	terminal := isFile && isatty.IsTerminal(file.Fd())
	if c.Log.Format == "json" || c.Log.Format == "auto" && !terminal {
		return slog.New(tracedHandler{slog.NewJSONHandler(visibleJSONOutput{to}, &slog.HandlerOptions{Level: c.Log.Level})})
	}
	return slog.New(tracedHandler{visibleHandler{tint.NewTextHandler(to, &tint.Options{
		Level:      c.Log.Level,
		TimeFormat: "15:04:05.000",
		NoColor:    !terminal || os.Getenv("NO_COLOR") != "", // no-color.org
	})}})
}

// tracedHandler adds the trace and the span that a line belongs to.
type tracedHandler struct{ slog.Handler }

func (h tracedHandler) Handle(ctx context.Context, line slog.Record) error {
	if field := strings.Split(ports.TraceParent(ctx), "-"); len(field) == 4 {
		line.AddAttrs(slog.String("trace", field[1]), slog.String("span", field[2]))
	}
	return h.Handler.Handle(ctx, line)
}

func (h tracedHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return tracedHandler{h.Handler.WithAttrs(attributes)}
}

func (h tracedHandler) WithGroup(name string) slog.Handler {
	return tracedHandler{h.Handler.WithGroup(name)}
}
