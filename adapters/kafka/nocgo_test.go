//go:build !cgo

package kafka

import (
	"strings"
	"testing"

	"hexorders/ports"
)

var (
	_ ports.Publisher  = (*Publisher)(nil)
	_ ports.Subscriber = (*Subscriber)(nil)
	_ ports.Replayable = (*Subscriber)(nil)
)

func TestWithoutCgo(t *testing.T) {
	p, err := NewPublisher(Options{})
	if p != nil {
		t.Error("there is a publisher")
	}
	s, noSubscriber := NewSubscriber(Options{})
	if s != nil {
		t.Error("there is a subscriber")
	}
	for _, err := range []error{err, noSubscriber, Ping(t.Context(), Options{})} {
		for _, word := range []string{"cgo", "gcc", "CGO_ENABLED=1", "HEXORDERS_BROKER=inproc"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("the error is %q, want %q in it", err, word)
			}
		}
	}
}
