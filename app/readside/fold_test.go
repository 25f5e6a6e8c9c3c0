package readside_test

import (
	"reflect"
	"strings"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/app/readside"
	"hexorders/ports"
)

// A message that Fold refuses changes neither the order nor the rows.
func TestAFoldKeepsNothingOfAMessageThatItRefuses(t *testing.T) {
	t.Parallel()
	messages := basket(t, "o", "b", 2)
	unreadable, createdAgain := messages[1], messages[0]
	unreadable.Payload, createdAgain.Version = []byte("?"), 2
	fold, plain := readside.NewFold(readside.All, eventjson.Event), readside.NewFold(readside.All, eventjson.Event)
	for _, x := range []struct {
		message ports.Message
		refused string // "": it is applied
	}{
		{messages[1], "version 2 stands where 1 should be"},
		{messages[0], ""},
		{messages[0], "version 1 stands where 2 should be"},
		{unreadable, "invalid character '?'"},
		{createdAgain, "stored data is not an order"},
		{messages[1], ""},
	} {
		err := fold.Apply(x.message)
		if x.refused != "" {
			if err == nil || !strings.Contains(err.Error(), x.refused) {
				t.Errorf("version %d: error %v, want that %s", x.message.Version, err, x.refused)
			}
			continue
		}
		if err := plain.Apply(x.message); err != nil {
			t.Fatal(err)
		}
		if err != nil || fold.Order().Version != x.message.Version || !reflect.DeepEqual(fold.Order(), plain.Order()) {
			t.Errorf("version %d: the order is %+v, error %v, want %+v", x.message.Version, fold.Order(), err, plain.Order())
		}
		if got, want := fold.Changes(), plain.Changes(); !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: the rows change by %+v, want %+v", x.message.Version, got, want)
		}
	}
}
