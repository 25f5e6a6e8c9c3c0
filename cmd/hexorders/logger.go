package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// newLogger writes text for people and JSON for programs; auto means text on a terminal.
func newLogger(to io.Writer, c *Config) *slog.Logger {
	file, isFile := to.(*os.File)
	terminal := isFile && isatty.IsTerminal(file.Fd())
	if c.Log.Format == "json" || c.Log.Format == "auto" && !terminal {
		return slog.New(slog.NewJSONHandler(visibleJSONOutput{to}, &slog.HandlerOptions{Level: c.Log.Level}))
	}
	return slog.New(visibleHandler{tint.NewTextHandler(to, &tint.Options{
		Level:      c.Log.Level,
		TimeFormat: "15:04:05.000",
		NoColor:    !terminal || os.Getenv("NO_COLOR") != "", // no-color.org
	})})
}
