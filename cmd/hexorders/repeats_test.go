package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/ports"
)

// logged reads what a JSON log has written since the last time.
func logged(t *testing.T, out *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for text := range bytes.Lines(out.Bytes()) {
		var entry map[string]any
		if err := json.Unmarshal(text, &entry); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, entry)
	}
	out.Reset()
	return lines
}

func TestAWarningThatRepeatsIsWrittenNowAndThenWithTheNumberLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := withoutRepeats(slog.New(slog.NewJSONHandler(&out, nil))).With("role", "relay")
		const seconds, aSecond = 60, 10
		for attempt := range seconds * aSecond {
			log.Warn("the store is away", "attempt", attempt)
			time.Sleep(time.Second / aSecond)
		}
		time.Sleep(2 * repeatEvery)
		synctest.Wait()
		lines := logged(t, &out)
		if most := repeatsFirst + seconds/int(repeatEvery.Seconds()); len(lines) > most {
			t.Errorf("%d lines in a minute, want at most %d", len(lines), most)
		}
		all := len(lines)
		for _, entry := range lines {
			if n, ok := entry["leftOut"].(float64); ok {
				all += int(n)
			}
			if entry["role"] != "relay" {
				t.Errorf("a line has lost its attributes: %v", entry)
			}
		}
		if all != seconds*aSecond {
			t.Errorf("%d lines and what they say was left out make %d, want %d", len(lines), all, seconds*aSecond)
		}
		if last := lines[len(lines)-1]["attempt"]; last != float64(seconds*aSecond-1) {
			t.Errorf("the last line is of attempt %v, want the last attempt", last)
		}
		log.Warn("the store is away")
		if got := logged(t, &out); len(got) != 1 || got[0]["leftOut"] != nil {
			t.Errorf("after a pause: %v, want the line at once", got)
		}
	})
}

func TestWhatIsNoRepetitionIsAlwaysWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := withoutRepeats(slog.New(slog.NewJSONHandler(&out, nil)))
		for i := range 10 {
			log.Info("a line")
			log.Error("an order is parked", "order", i)
			log.Warn(strings.Repeat("!", i+1))
		}
		if got := len(logged(t, &out)); got != 30 {
			t.Errorf("%d lines, want 30", got)
		}
	})
}

// brokenCheckpoints is an outbox that can be read, while no checkpoint can be saved.
type brokenCheckpoints struct{ ports.Outbox }

func (brokenCheckpoints) Checkpoint(context.Context, int64, ports.Position) error {
	return errors.New("no room")
}

// The relay tries ten times a second.
func TestARelayThatCannotSaveItsCheckpointDoesNotFillTheLog(t *testing.T) {
	s := start(t, knownRoles, func(s *Service) {
		s.storage.outbox = brokenCheckpoints{s.storage.outbox}
		s.relay = newRelay(&s.config, s.storage, s.publisher, nil, s.log)
	})
	s.do(t, "POST", "/orders", `{"buyerId":"9999"}`, nil)
	s.log.waitFor(t, "relay could not save its checkpoint")
	lines := 1
	for end := time.After(time.Second); ; {
		select {
		case entry := <-s.log.lines:
			if strings.Contains(entry["msg"].(string), "relay could not save its checkpoint") {
				lines++
			}
			continue
		case <-end:
		}
		break
	}
	if lines > repeatsFirst {
		t.Errorf("%d lines of one kind in a second, want at most %d", lines, repeatsFirst)
	}
}
