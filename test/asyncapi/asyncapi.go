// Package asyncapi holds messages against docs/api/asyncapi.yaml, the description of the topic, and the JSON Schemas that it
// refers to. That the document itself is a valid one is for test/docs, where its official parser says so.
package asyncapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Description is what a service must keep to.
type Description struct {
	Address  string             // of the topic
	Messages map[string]Message // by type and schema, such as "OrderCancelled.2"
	Sent     []string           // those that are still written
	key      *jsonschema.Schema
}

// Message is one schema of one type.
type Message struct {
	Type             string // what ce_type says
	Payload          string // the file of its JSON Schema, from the document's folder
	headers, payload *jsonschema.Schema
}

// Record is a message as it stands in the topic.
type Record struct {
	Key     string
	Headers map[string]string
	Value   string
}

// Read reads the description in a folder. Fields that it does not name are wrong: they are for readers to pass over, not
// for the service to write.
func Read(folder string) (*Description, error) { return read(folder, closed) }

type openness bool

const (
	open   openness = true // as a reader takes the schemas, who must expect new fields
	closed openness = false
)

func read(folder string, o openness) (*Description, error) {
	path, err := filepath.Abs(filepath.Join(folder, "asyncapi.yaml"))
	if err != nil {
		return nil, err
	}
	var document struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]reference
		}
		Operations map[string]struct{ Messages []reference }
		Components struct {
			Messages map[string]struct {
				Name    string
				Payload reference
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(loader{o})
	c.AssertFormat()
	compile := func(pointer ...string) *jsonschema.Schema {
		schema, compileErr := c.Compile(path + "#/" + strings.Join(pointer, "/"))
		if compileErr != nil && err == nil {
			err = compileErr
		}
		return schema
	}
	d := &Description{Address: document.Channels["orders"].Address, Messages: map[string]Message{}}
	d.key = compile("components", "messageBindings", "Record", "kafka", "key")
	for name := range document.Channels["orders"].Messages {
		message := document.Components.Messages[name]
		d.Messages[name] = Message{
			Type:    message.Name,
			Payload: message.Payload.Ref,
			headers: compile("components", "messages", name, "headers"),
			payload: compile("components", "messages", name, "payload"),
		}
	}
	for _, sent := range document.Operations["publish"].Messages {
		d.Sent = append(d.Sent, strings.TrimPrefix(sent.Ref, "#/channels/orders/messages/"))
	}
	return d, err
}

type reference struct {
	Ref string `yaml:"$ref"`
}

// Check tells what is wrong with a record.
func (d *Description) Check(r Record) error {
	name, err := d.name(r)
	if err != nil {
		return err
	}
	message := d.Messages[name]
	payload, err := jsonschema.UnmarshalJSON(strings.NewReader(r.Value))
	if err != nil {
		return fmt.Errorf("the value: %w", err)
	}
	headers := map[string]any{}
	for header, value := range r.Headers {
		headers[header] = value
	}
	for _, part := range []struct {
		what   string
		schema *jsonschema.Schema
		value  any
	}{{"key", d.key, r.Key}, {"headers", message.headers, headers}, {"payload", message.payload, payload}} {
		if err := part.schema.Validate(part.value); err != nil {
			return fmt.Errorf("%s of %s: %w", part.what, name, err)
		}
	}
	return nil
}

// name is the name of the message that a record says it is.
func (d *Description) name(r Record) (string, error) {
	head := struct{ Schema int }{1}
	if err := json.Unmarshal([]byte(r.Value), &head); err != nil {
		return "", fmt.Errorf("the value: %w", err)
	}
	name := fmt.Sprintf("%s.%d", r.Headers["ce_type"], head.Schema)
	if _, known := d.Messages[name]; !known {
		return "", fmt.Errorf("%s is not described", name)
	}
	return name, nil
}

// loader reads the document and what it refers to.
type loader struct{ openness }

func (l loader) Load(url string) (any, error) {
	path, err := jsonschema.FileLoader{}.ToFile(url)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(path) == ".yaml" {
		if text, err = yaml.YAMLToJSON(text); err != nil {
			return nil, err
		}
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if l.openness == closed {
		closeObjects(document)
	}
	return document, err
}

// closeObjects lets no object have a property that its schema does not name.
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if node["properties"] != nil && node["additionalProperties"] == nil {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}
