package checker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/core/order"
)

// Source says where the two servers are.
type Source struct {
	MongoURI string
	Database string
	Brokers  string // host:port, several with commas
	Topic    string
	Events   bool   // the store is mongodb-events
	SQLite   string // the store is this file, and there is no MongoDB
	Postgres string // the store is here, and there is no MongoDB
	NATS     string // the broker is this NATS, and there is no Kafka
}

// Log is the collection that committed messages stand in.
func (s Source) Log() string {
	if s.Events {
		return "order_events"
	}
	return "outbox"
}

// Reader reads histories.
type Reader struct {
	database *mongo.Database
	tables   *sql.DB // in place of database
	kafka    *kgo.Client
	nats     *nats.Conn // in place of kafka
	source   Source
}

func Open(source Source) (_ *Reader, err error) {
	r := &Reader{source: source}
	switch {
	case source.SQLite != "":
		if r.tables, err = sql.Open("sqlite", "file:"+source.SQLite+"?mode=ro"); err != nil {
			return nil, fmt.Errorf("SQLite: %w", err)
		}
	case source.Postgres != "":
		if r.tables, err = sql.Open("pgx", source.Postgres); err != nil {
			return nil, fmt.Errorf("PostgreSQL: %w", err)
		}
	default:
		client, err := mongo.Connect(options.Client().ApplyURI(source.MongoURI))
		if err != nil {
			return nil, fmt.Errorf("MongoDB: %w", err)
		}
		r.database = client.Database(source.Database)
	}
	if source.NATS != "" {
		if r.nats, err = openNATS(source.NATS); err != nil {
			return nil, errors.Join(fmt.Errorf("NATS: %w", err), r.closeStore(context.Background()))
		}
		return r, nil
	}
	if r.kafka, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(source.Brokers, ",")...)); err != nil {
		return nil, errors.Join(fmt.Errorf("Kafka: %w", err), r.closeStore(context.Background()))
	}
	return r, nil
}

func (r *Reader) Close(ctx context.Context) error {
	if r.nats != nil {
		r.nats.Close()
	} else {
		r.kafka.Close()
	}
	return r.closeStore(ctx)
}

func (r *Reader) closeStore(ctx context.Context) error {
	if r.tables != nil {
		return r.tables.Close()
	}
	return r.database.Client().Disconnect(ctx)
}

// Read reads everything. A history is whole only when nothing runs any more: what is committed or published meanwhile
// may be in one half of it and not yet in the other.
func (r *Reader) Read(ctx context.Context) (History, error) {
	h := History{Events: r.source.Events}
	var err error
	if h.Topic, h.Partitions, err = r.readTopic(ctx); err != nil {
		return h, fmt.Errorf("read topic %s: %w", r.source.Topic, err)
	}
	if r.tables != nil {
		if err := r.readTables(ctx, &h); err != nil {
			return h, fmt.Errorf("read the tables of %s%s: %w", r.source.SQLite, r.source.Postgres, err)
		}
		return h, nil
	}
	if err := r.readDatabase(ctx, &h); err != nil {
		return h, fmt.Errorf("read database %s: %w", r.source.Database, err)
	}
	return h, nil
}

// Await returns when every committed message is in the topic or parked. When ctx ends first, the error says how far
// the relay got.
func (r *Reader) Await(ctx context.Context) error {
	// Counting is cheap, and until there are as many records as documents there is no use in reading them.
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	found := "nothing was read in time"
	for {
		committed, records, err := r.count(ctx)
		switch {
		case ctx.Err() != nil: // what was found before says more than that time was up
		case err != nil:
			found = err.Error()
		case records < committed:
			found = fmt.Sprintf("%d messages are committed, %d are in the topic or parked", committed, records)
		default:
			h, err := r.Read(ctx)
			if err != nil {
				if ctx.Err() == nil {
					found = err.Error()
				}
				break
			}
			lost := slices.DeleteFunc(Check(h, len(h.Topic)).Violations, func(v Violation) bool { return v.Rule != Lost })
			if len(lost) == 0 {
				return nil
			}
			found = fmt.Sprintf("%d of %d messages are missing, such as %s", len(lost), committed, lost[0].About)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the topic is not complete: %s: %w", found, ctx.Err())
		}
	}
}

func (r *Reader) count(ctx context.Context) (committed, recordsAndParked int64, err error) {
	if committed, err = r.countIn(ctx, r.source.Log()); err != nil {
		return 0, 0, err
	}
	if recordsAndParked, err = r.countIn(ctx, "parked"); err != nil {
		return 0, 0, err
	}
	ends, err := r.endOffsets(ctx)
	for _, end := range ends {
		recordsAndParked += end
	}
	return committed, recordsAndParked, err
}

func (r *Reader) countIn(ctx context.Context, name string) (n int64, err error) {
	if r.tables != nil {
		return n, r.tables.QueryRowContext(ctx, "SELECT count(*) FROM "+name).Scan(&n)
	}
	return r.database.Collection(name).CountDocuments(ctx, bson.D{})
}

// MongoDB -------------------------------------------------------------------------------------------------------------

// readDatabase reads all collections as they were at one moment.
func (r *Reader) readDatabase(ctx context.Context, h *History) error {
	session, err := r.database.Client().StartSession(options.Session().SetSnapshot(true))
	if err != nil {
		return err
	}
	defer session.EndSession(ctx)
	ctx = mongo.NewSessionContext(ctx, session)

	orders, err := r.readOrders(ctx)
	if err != nil {
		return err
	}
	for _, o := range orders {
		s := order.Snapshot{
			ID: o.ID, Buyer: o.BuyerID, Status: order.Status(o.Status), Version: o.Version,
			CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		}
		for _, item := range o.Items {
			s.Items = append(s.Items, order.Item{Product: item.ProductID, Amount: item.Amount})
		}
		h.Orders = append(h.Orders, s)
	}

	var outbox []struct {
		ID            string    `bson:"_id"`
		AggregateType string    `bson:"aggregatetype"`
		AggregateID   string    `bson:"aggregateid"`
		Type          string    `bson:"type"`
		Version       int       `bson:"version"`
		Payload       string    `bson:"payload"`
		OccurredAt    time.Time `bson:"occurredAt"`
		TraceParent   string    `bson:"traceparent"`
	}
	if err := r.readAll(ctx, r.source.Log(), &outbox); err != nil {
		return err
	}
	for _, d := range outbox {
		h.Outbox = append(h.Outbox, Document(d))
	}

	var parked []struct {
		ID string `bson:"_id"`
	}
	if err := r.readAll(ctx, "parked", &parked); err != nil {
		return err
	}
	for _, p := range parked {
		h.Parked = append(h.Parked, p.ID)
	}
	return nil
}

type orderDocument struct {
	ID      string `bson:"_id"`
	BuyerID string `bson:"buyerId"`
	Items   []struct {
		ProductID string `bson:"productId"`
		Amount    int    `bson:"amount"`
	} `bson:"items"`
	Status    string    `bson:"status"`
	Version   int       `bson:"version"`
	CreatedAt time.Time `bson:"createdAt"`
	UpdatedAt time.Time `bson:"updatedAt"`
}

// readOrders reads the orders' states or, where events are kept, the snapshots of them.
func (r *Reader) readOrders(ctx context.Context) (orders []orderDocument, err error) {
	if !r.source.Events {
		return orders, r.readAll(ctx, "orders", &orders)
	}
	var snapshots []struct{ Order orderDocument }
	if err := r.readAll(ctx, "order_snapshots", &snapshots); err != nil {
		return nil, err
	}
	for _, s := range snapshots {
		orders = append(orders, s.Order)
	}
	return orders, nil
}

func (r *Reader) readAll(ctx context.Context, collection string, into any) error {
	cursor, err := r.database.Collection(collection).Find(ctx, bson.D{})
	if err == nil {
		err = cursor.All(ctx, into)
	}
	if err != nil {
		return fmt.Errorf("collection %s: %w", collection, err)
	}
	return nil
}

// Kafka ---------------------------------------------------------------------------------------------------------------

// readTopic reads every partition from its first offset to the end that it has now.
func (r *Reader) readTopic(ctx context.Context) (records []Record, partitions int, err error) {
	if r.nats != nil {
		records, err = r.readStream(ctx)
		return records, 1, err
	}
	ends, err := r.endOffsets(ctx)
	if err != nil {
		return nil, 0, err
	}
	// A client of its own: the offsets that a client has consumed are part of its state.
	from := map[int32]kgo.Offset{}
	for partition, end := range ends {
		if end > 0 {
			from[partition] = kgo.NewOffset().AtStart()
		}
	}
	if len(from) == 0 {
		return nil, len(ends), nil
	}
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(r.source.Brokers, ",")...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.source.Topic: from}),
	)
	if err != nil {
		return nil, 0, err
	}
	defer consumer.Close()
	byPartition := map[int32][]Record{}
	for open := len(from); open > 0; {
		fetches := consumer.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return nil, 0, fmt.Errorf("partition %d: %w", errs[0].Partition, errs[0].Err)
		}
		fetches.EachRecord(func(k *kgo.Record) {
			if k.Offset >= ends[k.Partition] {
				return
			}
			if k.Offset == ends[k.Partition]-1 {
				open--
			}
			record := Record{Partition: k.Partition, Offset: k.Offset, Key: string(k.Key), Value: string(k.Value)}
			for _, h := range k.Headers {
				record.Headers = append(record.Headers, Header{h.Key, string(h.Value)})
			}
			byPartition[k.Partition] = append(byPartition[k.Partition], record)
		})
	}
	for _, partition := range slices.Sorted(maps.Keys(byPartition)) {
		records = append(records, byPartition[partition]...)
	}
	return records, len(ends), nil
}

// endOffsets are the high-water marks of all partitions.
func (r *Reader) endOffsets(ctx context.Context) (map[int32]int64, error) {
	if r.nats != nil {
		end, err := r.streamEnd(ctx)
		return map[int32]int64{0: end}, err
	}
	partitions, err := r.partitions(ctx)
	if err != nil {
		return nil, err
	}
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = r.source.Topic
	for _, id := range partitions {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition = id
		partition.Timestamp = -1 // the end
		topic.Partitions = append(topic.Partitions, partition)
	}
	request := kmsg.NewPtrListOffsetsRequest()
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, r.kafka)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for _, topic := range response.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return nil, fmt.Errorf("partition %d: %w", partition.Partition, err)
			}
			ends[partition.Partition] = partition.Offset
		}
	}
	if len(ends) != len(partitions) {
		return nil, fmt.Errorf("the broker told the ends of %d partitions, want %d", len(ends), len(partitions))
	}
	return ends, nil
}

func (r *Reader) partitions(ctx context.Context) ([]int32, error) {
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(r.source.Topic)
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, r.kafka)
	if err != nil {
		return nil, err
	}
	var partitions []int32
	for _, topic := range response.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return nil, err
		}
		for _, partition := range topic.Partitions {
			partitions = append(partitions, partition.Partition)
		}
	}
	return partitions, nil
}
