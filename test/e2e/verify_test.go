package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// On real servers: a service under load agrees, one at rest agrees, and what is changed behind its back is told.
func TestVerifyOnRealServers(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"mongodb", "mongodb-events"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, shared(t), store)
			p := w.serve("serve")
			l := &load{orders: 400, clients: 8, client: w.client()}
			l.start(t.Context())
			eventually(t, patience, "orders come in", func() bool { return l.answered.Load() > 50 })
			w.verifies(nil)
			if err := l.wait(); err != nil {
				t.Fatal(err)
			}
			atRest := w.verifies(nil)
			if atRest.Orders != 400 || atRest.Events < 1200 || atRest.Records < atRest.Events || atRest.Rows < 1600 {
				t.Errorf("verify compared %+v, want all of 400 orders with 3 commands each", atRest)
			}
			if code := p.stop(); code != 0 {
				t.Errorf("exit code after SIGTERM is %d, want 0", code)
			}
			w.corrupt()
		})
	}
}

// verified is what `hexorders verify --json` prints.
type verified struct {
	Agree       bool
	Orders      int
	Events      int
	Records     int `json:"topicMessages"`
	Duplicates  int
	Rows        int
	Differences []struct {
		Kind     string
		Count    int
		Examples []struct{ Order, View, Key, Detail string }
	}
}

// verifies fails unless verify tells these kinds of differences, or some of them at least.
func (w *world) verifies(want []string) (v verified) {
	w.t.Helper()
	settle := "30s"
	if len(want) > 0 { // nothing is on its way
		settle = "100ms"
	}
	v, code, said := verify(w.t, w.env, settle)
	var kinds []string
	for _, d := range v.Differences {
		kinds = append(kinds, d.Kind)
	}
	if !slices.Equal(kinds, want) || (code == 0) != (len(want) == 0) {
		w.t.Errorf("verify ends with %d and tells of %v, want %v:\n%s", code, kinds, want, said)
	}
	return v
}

// verify is what `hexorders verify --json` prints, with its exit code and all that it said.
func verify(t testing.TB, env environment, settle string) (v verified, code int, said string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, "verify", "--json", "--settle", settle)
	c.Dir, c.Env, c.SysProcAttr = t.TempDir(), env.list(), dieWithUs()
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	_ = c.Run() // the exit code says it
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		t.Fatalf("verify prints %s%s: %v", &out, &errOut, err)
	}
	return v, c.ProcessState.ExitCode(), out.String() + errOut.String()
}

// corrupt changes what the servers have of some orders, and mends it where that is possible.
func (w *world) corrupt() {
	w.t.Helper()
	var undo []func()
	change := func(collection, id string, update bson.D) { // none deletes the document
		w.t.Helper()
		c, byID := w.mongo.Database(w.source.Database).Collection(collection), bson.D{{Key: "_id", Value: id}}
		var was bson.Raw
		err := c.FindOne(w.t.Context(), byID).Decode(&was)
		if err == nil && update == nil {
			_, err = c.DeleteOne(w.t.Context(), byID)
		} else if err == nil {
			_, err = c.UpdateByID(w.t.Context(), id, bson.D{{Key: "$set", Value: update}})
		}
		if err != nil {
			w.t.Fatalf("change %s in %s: %v", id, collection, err)
		}
		undo = append(undo, func() {
			if _, err := c.ReplaceOne(w.t.Context(), byID, was, options.Replace().SetUpsert(true)); err != nil {
				w.t.Errorf("mend %s in %s: %v", id, collection, err)
			}
		})
	}
	views := "readmodel.1."
	orders, buyers := w.ids(views+"order-summary"), w.ids(views+"buyer-activity")
	change(w.source.Log(), orders[0]+"/2", bson.D{{Key: "occurredAt", Value: time.Now()}})
	change(w.source.Log(), orders[1]+"/1", nil)
	change(views+"order-summary", orders[2], nil)
	change(views+"order-summary", orders[3], bson.D{{Key: "body", Value: "{}"}})
	change(views+"buyer-activity", buyers[0], bson.D{{Key: "c.lastAt", Value: int64(1)}})
	if w.source.Events {
		w.verifies([]string{"damaged-order", "missing-in-store", "altered-in-topic", "missing-row", "wrong-row"})
	} else {
		change("orders", orders[4], bson.D{{Key: "buyerId", Value: "x"}})
		v := w.verifies([]string{"damaged-order", "missing-in-store", "altered-in-topic", "missing-row", "wrong-row"})
		if wrong := v.Differences[4]; wrong.Count != 2 || wrong.Examples[0].Key != orders[3] || wrong.Examples[1].Key != buyers[0] {
			w.t.Errorf("two rows are wrong, and verify says %+v", wrong)
		}
	}
	for _, mend := range undo {
		mend()
	}

	// What is in a topic stays there.
	record := newRecord("an-order-that-never-was", 1, "OrderPaid", "", time.Now())
	record.Topic = w.source.Topic
	if err := w.kafka.ProduceSync(w.t.Context(), record).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	w.verifies([]string{"invented-in-topic"})
	w.deleteRecords()
	if v := w.verifies([]string{"missing-in-topic"}); v.Differences[0].Count != v.Events || v.Records != 0 {
		w.t.Errorf("all records are deleted, and verify says %+v", v)
	}
}

// ids are those of a collection, sorted.
func (w *world) ids(collection string) (ids []string) {
	w.t.Helper()
	c := w.mongo.Database(w.source.Database).Collection(collection)
	if err := c.Distinct(w.t.Context(), "_id", bson.D{}).Decode(&ids); err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// deleteRecords does at once what retention does to a topic in time.
func (w *world) deleteRecords() {
	w.t.Helper()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = w.source.Topic
	for id := range int32(12) {
		partition := kmsg.NewDeleteRecordsRequestTopicPartition()
		partition.Partition, partition.Offset = id, -1 // the end
		topic.Partitions = append(topic.Partitions, partition)
	}
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.TimeoutMillis = 30_000
	request.Topics = append(request.Topics, topic)
	for _, shard := range w.kafka.RequestSharded(w.t.Context(), request) {
		if shard.Err != nil {
			w.t.Fatal(shard.Err)
		}
	}
}
