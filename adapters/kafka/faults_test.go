//go:build cgo

package kafka

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a broker answers while it shuts down, said by a fake broker at the right moment.

// fakeBroker is a fake broker with the topic "orders", of 3 partitions.
type fakeBroker struct {
	*kfake.Cluster
	options Options
	// hangsUp makes each connection end after the next response.
	hangsUp *atomic.Bool
}

func newFakeBroker(t testing.TB) *fakeBroker {
	t.Helper()
	f := &fakeBroker{hangsUp: &atomic.Bool{}}
	var err error
	f.Cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			return fakeListener{l, f.hangsUp}, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.options = Options{Brokers: f.ListenAddrs()[0], Topic: "orders", Partitions: 3, stalled: 2 * time.Second}
	return f
}

type fakeListener struct {
	net.Listener
	hangsUp *atomic.Bool
}

func (l fakeListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return fakeConn{c, l.hangsUp}, err
}

type fakeConn struct {
	net.Conn
	hangsUp *atomic.Bool
}

func (c fakeConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.hangsUp.Load() {
		err = errors.Join(err, c.Close())
	}
	return n, err
}

func TestAGroupIsReadWhenItsOffsetsCouldNotBeLoadedAtFirst(t *testing.T) {
	t.Parallel()
	fake := newFakeBroker(t)
	publish(t, open(t, fake.options), manyEvents(20, 1, 1)...)
	var refused atomic.Int32
	fake.ControlKey(int16(kmsg.OffsetFetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if refused.Add(1) == 3 {
			fake.DropControl()
		}
		response := request.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, group := range request.(*kmsg.OffsetFetchRequest).Groups {
			answer := kmsg.NewOffsetFetchResponseGroup()
			answer.Group, answer.ErrorCode = group.Group, kerr.NotCoordinator.Code
			response.Groups = append(response.Groups, answer)
		}
		return response, nil, true
	})
	r := startReader(t, newSubscriber(t, fake.options), "members")
	r.await(t, 20)
	r.stop(t)
	if n := refused.Load(); n != 3 {
		t.Errorf("%d requests were refused, want 3", n)
	}
}

// cutOff tells a client of no brokers and then hangs up, so that it has lost them. refuse makes the client ask for metadata.
// It depends on a race in librdkafka, so it is repeated each time that the client has recovered, until it is replaced.
func (f *fakeBroker) cutOff(t testing.TB, refuse func() (recovered func() bool), replaced func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !replaced() {
		told := make(chan struct{})
		recovered := refuse()
		f.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
			response := request.ResponseKind().(*kmsg.MetadataResponse)
			for _, topic := range request.(*kmsg.MetadataRequest).Topics {
				answer := kmsg.NewMetadataResponseTopic()
				answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
				for partition := range int32(3) {
					p := kmsg.NewMetadataResponseTopicPartition()
					p.Partition, p.Leader, p.ErrorCode = partition, -1, kerr.LeaderNotAvailable.Code
					answer.Partitions = append(answer.Partitions, p)
				}
				response.Topics = append(response.Topics, answer)
			}
			f.hangsUp.Store(true)
			close(told)
			return response, nil, true
		})
		<-told
		time.Sleep(200 * time.Millisecond) // its other connections end too
		f.hangsUp.Store(false)
		for !replaced() && !recovered() {
			if time.Now().After(deadline) {
				t.Fatal("the client neither goes on nor is replaced")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func TestAConsumerThatHasLostItsBrokersIsReplaced(t *testing.T) {
	t.Parallel()
	fake := newFakeBroker(t)
	p := open(t, fake.options)
	publish(t, p, manyEvents(20, 1, 1)...)
	all := ids(manyEvents(20, 1, 1))
	s := newSubscriber(t, fake.options)
	r := startReader(t, s, "members")
	r.await(t, 20)
	fake.cutOff(t, func() (recovered func() bool) {
		fake.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
			response := request.ResponseKind().(*kmsg.FetchResponse)
			for _, topic := range request.(*kmsg.FetchRequest).Topics {
				answer := kmsg.NewFetchResponseTopic()
				answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
				for _, partition := range topic.Partitions {
					p := kmsg.NewFetchResponseTopicPartition()
					p.Partition, p.ErrorCode, p.RecordBatches = partition.Partition, kerr.NotLeaderForPartition.Code, []byte{}
					answer.Partitions = append(answer.Partitions, p)
				}
				response.Topics = append(response.Topics, answer)
			}
			return response, nil, true
		})
		sent := false
		return func() bool {
			if !sent {
				sent = true
				publish(t, p, manyEvents(20, 1+len(all)/20, 1+len(all)/20)...)
				all = append(all, ids(manyEvents(20, 1+len(all)/20, 1+len(all)/20))...)
			}
			return len(r.ids()) >= len(all)
		}
	}, func() bool { return s.Stalls() > 0 })
	r.awaitAll(t, all)
	r.stop(t)
}

func TestAPublisherThatHasLostItsBrokersGetsNewOnes(t *testing.T) {
	t.Parallel()
	fake := newFakeBroker(t)
	log := &journal{}
	fake.options.Logger = log.logger()
	p := open(t, fake.options)
	publish(t, p, event("a", 1))
	version := 1
	fake.cutOff(t, func() (recovered func() bool) {
		fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			response := request.ResponseKind().(*kmsg.ProduceResponse)
			for _, topic := range request.(*kmsg.ProduceRequest).Topics {
				answer := kmsg.NewProduceResponseTopic()
				answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
				for _, partition := range topic.Partitions {
					p := kmsg.NewProduceResponseTopicPartition()
					p.Partition, p.ErrorCode = partition.Partition, kerr.NotLeaderForPartition.Code
					answer.Partitions = append(answer.Partitions, p)
				}
				response.Topics = append(response.Topics, answer)
			}
			return response, nil, true
		})
		version++
		var acknowledged atomic.Bool
		p.Publish(t.Context(), event("a", version), func(err error) { acknowledged.Store(err == nil) })
		return acknowledged.Load
	}, func() bool { return len(log.with("the Kafka producer is replaced", errCutOff.Error())) > 0 })
	publish(t, p, event("a", version+1))
}

func TestAClientIsCutOffOnlyWhenANewOneGetsAnAnswer(t *testing.T) {
	answering, mute := Options{Brokers: sharedCluster(t).brokers, Topic: "none", stalled: time.Minute}, listen(t)
	silent := Options{Brokers: mute.Addr().String(), Topic: "none", stalled: time.Minute}
	timedOut := kafka.NewError(kafka.ErrTimedOut, "", false)
	refused := connectAny(t.Context(), []string{"127.0.0.1:1"})
	for name, test := range map[string]struct {
		options Options
		since   time.Duration
		err     error
		want    bool
	}{
		"no answer for long, and a new client gets one":     {answering, time.Hour, timedOut, true},
		"no answer within its time, and a new one gets one": {answering, time.Hour, context.DeadlineExceeded, true},
		"no answer for long, nor does a new client get one": {silent, time.Hour, timedOut, false},
		"no answer, but not for long yet":                   {answering, time.Second, timedOut, false},
		"an answer":                                         {answering, time.Hour, nil, false},
		"an answer that is an error":                        {answering, time.Hour, kafka.NewError(kafka.ErrTopicAuthorizationFailed, "", false), false},
		"nobody listens":                                    {answering, time.Hour, refused, false},
		"the end of the context":                            {answering, time.Hour, context.Canceled, false},
	} {
		admin := topicAdmin{options: test.options.withDefaults(), silentSince: time.Now().Add(-test.since)}
		if got := admin.isCutOff(t.Context(), test.err); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
