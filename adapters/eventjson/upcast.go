package eventjson

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNewerSchema means that a newer version of the program wrote the message: its schema is unknown here, and guessing
// its meaning is not safe.
var ErrNewerSchema = errors.New("event schema is newer than this program knows")

// upcasters convert a payload from one schema to the next: the first of a type converts schema 1 to 2, the second 2 to
// 3, and so on. A type without upcasters is at schema 1.
var upcasters = map[string][]upcaster{
	"OrderCancelled": {onlyBuyersCancelled},
}

type upcaster func(fields map[string]json.RawMessage)

// onlyBuyersCancelled adds "by": before schema 2 only the buyer could cancel.
func onlyBuyersCancelled(fields map[string]json.RawMessage) {
	fields["by"] = json.RawMessage(`"buyer"`)
}

// Schemas returns the types of the published language, each with its newest schema. Older schemas are still read.
func Schemas() map[string]int {
	newest := make(map[string]int, len(decoders))
	for typeName := range decoders {
		newest[typeName] = newestSchema(typeName)
	}
	return newest
}

func newestSchema(typeName string) int { return 1 + len(upcasters[typeName]) }

// upcast converts a payload to the newest schema. It returns a payload of that schema unchanged.
func upcast(typeName string, payload []byte) ([]byte, error) {
	head := &struct{ Schema int }{1}
	if err := json.Unmarshal(payload, &head); err != nil {
		return nil, err
	}
	if head == nil {
		return nil, errors.New("the payload is null")
	}
	steps := upcasters[typeName]
	switch newest := len(steps) + 1; {
	case head.Schema < 1:
		return nil, fmt.Errorf("schema %d: schemas begin at 1", head.Schema)
	case head.Schema > newest:
		return nil, fmt.Errorf("schema %d, this program knows 1 to %d: %w", head.Schema, newest, ErrNewerSchema)
	case head.Schema == newest:
		return payload, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(payload, &fields); err != nil {
		return nil, err
	}
	for _, step := range steps[head.Schema-1:] {
		step(fields)
	}
	fields["schema"] = json.RawMessage(fmt.Sprint(len(steps) + 1))
	return json.Marshal(fields)
}
