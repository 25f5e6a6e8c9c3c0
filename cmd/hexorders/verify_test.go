package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hexorders/app/verify"
)

var someDuration = regexp.MustCompile(`in [\d.]+(ms|s):`)

func TestVerifySaysWhatDiffersAndWhatToDo(t *testing.T) {
	published(t)
	out, errOut, code := runCommand(t, "verify", "--settle", "1ms")
	want := `compared in TIME: 1 orders, 2 events in the store, 3 messages in the topic, 0 of them again, 0 rows of views

invented-in-topic: 1
  events in the topic that the store never committed: it was restored from an older copy, or another program publishes
    order order-2, version 1: the store does not have the order
  What to do: all consumers have seen events that did not happen; docs/operate.md, "Restore", says what to do after a restore.

missing-in-views: 1
  orders of which the views lack the latest events: lists show them as they were, or not at all
    order order-1, version 1: the views have version 0, the store 2
  What to do: see that a process with the role views runs, then verify again; if it runs, run ` +
		"`hexorders views rebuild`" + `, with --from store if events in the topic are missing or altered.
`
	if got := someDuration.ReplaceAllString(out, "in TIME:"); got != want || errOut != "hexorders: 2 differences\n" || code != exitFailed {
		t.Errorf("exit code %d\n%s%swant\n%s", code, got, errOut, want)
	}

	out, errOut, code = runCommand(t, "verify", "--settle", "1ms", "--json")
	var got reportJSON
	if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Count(out, "\n") != 1 || code != exitFailed {
		t.Fatalf("exit code %d, error %v\n%s%s", code, err, out, errOut)
	}
	if got.Agree || got.Orders != 1 || got.Events != 2 || got.Records != 3 || len(got.Differences) != 2 ||
		got.Differences[1].Kind != verify.MissingInViews || got.Differences[1].Count != 1 ||
		got.Differences[1].Examples[0].Order != "order-1" || got.Unproven == nil {
		t.Errorf("as JSON it is %+v", got)
	}
}

func TestVerifyOfANewDatabaseAgrees(t *testing.T) {
	published(t)
	t.Setenv("HEXORDERS_SQLITE_PATH", t.TempDir()+"/new.db")
	if _, errOut, code := runCommand(t, "verify"); code != exitFailed || !strings.Contains(errOut, "file does not exist") {
		t.Errorf("without a database: exit code %d, %s", code, errOut)
	}
	c, _, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStorage(t.Context(), &c, nil, watch{}, true)
	if err == nil {
		err = s.close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := runCommand(t, "verify"); code != exitOK || !strings.HasSuffix(out, "\nall agree\n") || errOut != "" {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
}

// A store and a broker may lack what a verification needs, and each store of this program that others can open has it.
func TestWhatToVerifyIsFoundInEveryStore(t *testing.T) {
	for _, kind := range stores {
		if !kind.shared || slices.Contains([]string{"mongodb", "mongodb-events", "postgres"}, kind.name) {
			continue // others cannot open it, or end-to-end tests verify it
		}
		c := &Config{Store: kind}
		c.SQLite.Path = t.TempDir() + "/orders.db"
		c.Outbox.Retention = 1
		s, err := openStorage(t.Context(), c, nil, watch{}, true)
		if err != nil {
			t.Fatal(err)
		}
		subscriber, err := inprocSubscriber(c, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var o verify.Options
		if err := whatToVerify(&o, c, s, subscriber); err != nil || o.Trimmed.IsZero() {
			t.Errorf("%s: error %v, trimmed until %s", kind.name, err, o.Trimmed)
		}
		c.Outbox.Retention, o = 0, verify.Options{}
		if err := whatToVerify(&o, c, s, subscriber); err != nil || !o.Trimmed.IsZero() {
			t.Errorf("%s: error %v, trimmed until %s, and nothing is deleted", kind.name, err, o.Trimmed)
		}
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheManualExplainsEveryKindOfDifference(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range verify.Explanations {
		if !strings.Contains(string(manual), "\n| `"+string(e.Kind)+"` |") {
			t.Errorf("docs/operate.md does not explain %s", e.Kind)
		}
	}
}
