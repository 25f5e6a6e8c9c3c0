// Package peers runs what else could carry the outbox to Kafka: Debezium's MongoDB connector and MongoDB's own, in a
// Kafka Connect that scripts/services starts. test/bench measures them beside hexorders; the test here, under the build
// tag peers, compares what Debezium publishes with what hexorders does (make test-peers).
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Connect is a running Kafka Connect, spoken to over its REST interface.
type Connect struct {
	URL        string
	PID        int
	repository string
	folder     string
	variables  []string
}

// Start starts Kafka Connect on a broker. The folder, which must exist, is for its configuration and offsets; the
// repository is the checkout.
func Start(ctx context.Context, repository, folder, brokers string) (*Connect, error) {
	c := &Connect{repository: repository, folder: folder}
	c.variables = append(os.Environ(), "SERVICES_DIR="+folder, "SERVICES_CONNECT_PORT=free", "HEXORDERS_KAFKA_BROKERS="+brokers)
	if os.Getenv("SERVICES_DIST") == "" {
		c.variables = append(c.variables, "SERVICES_DIST="+filepath.Join(repository, ".services", "dist"))
	}
	if _, err := c.services(ctx, "up"); err != nil {
		return nil, err
	}
	said, err := c.services(ctx, "env")
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.URL = strings.Trim(strings.TrimPrefix(strings.TrimSpace(said), "export CONNECT_URL="), "'")
	pid, err := os.ReadFile(filepath.Join(folder, "connect.pid"))
	if err == nil {
		c.PID, err = strconv.Atoi(strings.TrimSpace(string(pid)))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close stops it.
func (c *Connect) Close() error {
	_, err := c.services(context.Background(), "down")
	return err
}

// Log is what it has written about errors.
func (c *Connect) Log() string {
	log, err := os.ReadFile(filepath.Join(c.folder, "connect.log"))
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "ERROR") || strings.HasPrefix(line, "Caused by") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func (c *Connect) services(ctx context.Context, command string) (string, error) {
	run := exec.CommandContext(ctx, filepath.Join(c.repository, "scripts", "services"), command, "connect")
	run.Env = c.variables
	said, err := run.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("scripts/services %s connect: %w\n%s", command, err, said)
	}
	return string(said), nil
}

// Debezium is docs/relay/debezium.json for other places than the usual ones.
func Debezium(repository, mongoURI, database, topic string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(repository, "docs", "relay", "debezium.json"))
	if err != nil {
		return nil, err
	}
	var config map[string]string
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("docs/relay/debezium.json: %w", err)
	}
	config["mongodb.connection.string"] = mongoURI
	config["capture.target"] = database
	config["collection.include.list"] = database + ".outbox"
	config["topic.prefix"] = database
	config["transforms.outbox.route.topic.replacement"] = topic
	return config, nil
}

// Source is MongoDB's own connector: the documents of the outbox as they are, by order.
func Source(mongoURI, database, topic string) map[string]string {
	return map[string]string{
		"connector.class":                    "com.mongodb.kafka.connect.MongoSourceConnector",
		"connection.uri":                     mongoURI,
		"database":                           database,
		"collection":                         "outbox",
		"startup.mode":                       "latest",
		"pipeline":                           `[{"$match": {"operationType": "insert"}}]`,
		"publish.full.document.only":         "true",
		"output.json.formatter":              "com.mongodb.kafka.connect.source.json.formatter.SimplifiedJson",
		"output.format.key":                  "schema",
		"output.schema.key":                  `{"type": "record", "name": "event", "fields": [{"name": "fullDocument", "type": {"type": "record", "name": "document", "fields": [{"name": "aggregateid", "type": "string"}]}}]}`,
		"poll.await.time.ms":                 "100",
		"topic.namespace.map":                fmt.Sprintf(`{"%s.outbox": "%s"}`, database, topic),
		"key.converter":                      "org.apache.kafka.connect.storage.StringConverter",
		"value.converter":                    "org.apache.kafka.connect.storage.StringConverter",
		"producer.override.compression.type": "lz4",
	}
}

// Put makes a connector, or gives it another configuration, and waits until it runs.
func (c *Connect) Put(ctx context.Context, name string, config map[string]string) error {
	if err := c.ask(ctx, http.MethodPut, "/connectors/"+name+"/config", config, nil); err != nil {
		return err
	}
	return c.await(ctx, name, "RUNNING")
}

// Stop ends the tasks of a connector. What it has published it remembers.
func (c *Connect) Stop(ctx context.Context, name string) error {
	if err := c.ask(ctx, http.MethodPut, "/connectors/"+name+"/stop", nil, nil); err != nil {
		return err
	}
	return c.await(ctx, name, "STOPPED")
}

// Resume lets a stopped connector go on.
func (c *Connect) Resume(ctx context.Context, name string) error {
	if err := c.ask(ctx, http.MethodPut, "/connectors/"+name+"/resume", nil, nil); err != nil {
		return err
	}
	return c.await(ctx, name, "RUNNING")
}

// Delete forgets a connector.
func (c *Connect) Delete(ctx context.Context, name string) error {
	return c.ask(ctx, http.MethodDelete, "/connectors/"+name, nil, nil)
}

// await waits until a connector, and its task when it has to run, is in a state.
func (c *Connect) await(ctx context.Context, name, state string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	type part struct{ State, Trace string }
	var status struct {
		Connector part
		Tasks     []part
	}
	for {
		status.Tasks = nil
		err := c.ask(ctx, http.MethodGet, "/connectors/"+name+"/status", nil, &status)
		for _, p := range append(status.Tasks, status.Connector) {
			if p.State == "FAILED" {
				return fmt.Errorf("connector %s failed:\n%s", name, p.Trace)
			}
		}
		// Right after it was made, Connect does not know it yet.
		if err == nil && status.Connector.State == state && (state == "STOPPED") == (len(status.Tasks) == 0) &&
			(len(status.Tasks) == 0 || status.Tasks[0].State == state) {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("connector %s is %+v, want %s: %w", name, status, state, errors.Join(ctx.Err(), err))
		}
	}
}

func (c *Connect) ask(ctx context.Context, method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}
