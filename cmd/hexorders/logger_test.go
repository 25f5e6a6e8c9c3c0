package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"hexorders/ports"
)

func TestALineHasItsTraceAndSpan(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var c Config
		c.Log.Format = format
		var out bytes.Buffer
		log := newLogger(&out, &c).With("order", "o").WithGroup("more")
		log.InfoContext(context.Background(), "without")
		if strings.Contains(out.String(), "trace") {
			t.Errorf("%s: a line without a trace is\n%s", format, &out)
		}
		log.InfoContext(ports.WithTraceParent(context.Background(), "00-aa-bb-01"), "with")
		for _, want := range []string{"aa", "bb", "trace", "span"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in\n%s", format, want, &out)
			}
		}
	}
}
