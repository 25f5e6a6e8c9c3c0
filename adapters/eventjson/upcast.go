package eventjson

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNewerSchema says that a message was written by a newer version of the program than this one: its schema number is
// not known here, and guessing what it says is not safe.
var ErrNewerSchema = errors.New("event schema is newer than this program knows")

// upcasters turn a payload of an old schema into one of the next: the first of a type makes schema 2 of schema 1, the
// second 3 of 2, and so on. The newest schema of a type is what they lead to; a type without any is at schema 1.
var upcasters = map[string][]upcaster{
	"OrderCancelled": {onlyBuyersCancelled},
}

type upcaster func(fields map[string]json.RawMessage)

// onlyBuyersCancelled: until schema 2 there was nobody else who could.
func onlyBuyersCancelled(fields map[string]json.RawMessage) {
	fields["by"] = json.RawMessage(`"buyer"`)
}

// Schemas are the types of the published language, each with its newest schema. Those before it are still read.
func Schemas() map[string]int {
	newest := make(map[string]int, len(decoders))
	for typeName := range decoders {
		newest[typeName] = 1 + len(upcasters[typeName])
	}
	return newest
}

// upcast makes a payload one of the newest schema. One that is already stays as it is.
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
		return nil, fmt.Errorf("schema %d: there is none below 1", head.Schema)
	case head.Schema > newest:
		return nil, fmt.Errorf("schema %d, known are 1 to %d: %w", head.Schema, newest, ErrNewerSchema)
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
