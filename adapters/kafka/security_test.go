//go:build cgo

package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hexorders/ports"
	"hexorders/test/certificates"
)

// A broker goes away, comes back, and its certificate has expired meanwhile: the log says both, and each once.
func TestABrokerThatIsRefusedAfterItWasDownIsExplainedOnce(t *testing.T) {
	ca := certificates.New(t, "authority")
	own := ca.Issue(t, "broker", certificates.Wish{Hosts: []string{"127.0.0.1"}, Valid: -time.Minute})
	pair, err := tls.LoadX509KeyPair(own.Certificate, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t)
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	said := &journal{}
	log := &connectionLog{options: Options{
		Brokers: address, Logger: said.logger(), Security: Security{Protocol: "ssl", CA: ca.File},
	}}
	log.lost("connection refused")
	log.lost("connection refused")
	if listener, err = tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go handshakes(listener)
	log.lost("certificate verify failed")
	log.lost("certificate verify failed")
	for _, words := range []string{"connection refused", "the broker's certificate is valid from"} {
		if n := len(said.with("Kafka cannot be reached", words)); n != 1 {
			t.Errorf("%d lines say %q, want 1", n, words)
		}
	}
	if n := len(said.with("Kafka cannot be reached")); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}

// Without a pause there would be several producers, and lines, a second.
func TestAProducerWithoutTheRightIsReplacedSlowly(t *testing.T) {
	t.Parallel()
	fake, said := newFakeBroker(t), &journal{}
	fake.ControlKey(int16(kmsg.InitProducerID), func(request kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		response := request.ResponseKind().(*kmsg.InitProducerIDResponse)
		response.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return response, nil, true
	})
	fake.options.Logger = said.logger()
	open(t, fake.options)
	said.await(t, 1, "the Kafka producer is replaced", "grant the user the rights that docs/secure.md lists")
	time.Sleep(time.Second) // nothing is to happen in it
	if n := len(said.with("the Kafka producer is replaced")); n != 1 {
		t.Errorf("%d producers were replaced in a second, want 1", n)
	}
}

// Also when the broker did not answer at first, and the log has said so.
func TestASubscriberWithoutTheRightSaysSo(t *testing.T) {
	t.Parallel()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableACLs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	said, down := &journal{}, make(chan struct{})
	fake.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		fake.SleepControl(func() { <-down })
		return nil, nil, false
	})
	subscriber, err := NewSubscriber(Options{Brokers: fake.ListenAddrs()[0], Topic: "orders", Logger: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- subscriber.Subscribe(ctx, "g", nil, func(context.Context, ports.Batch) error { return nil })
	}()
	said.await(t, 1, "Kafka cannot be reached")
	close(down)
	said.await(t, 1, "Topic authorization failed: grant the user the rights that docs/secure.md lists")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe returned %v, want that it was cancelled", err)
	}
	if n := len(said.with("Topic authorization failed")); n != 1 {
		t.Errorf("%d lines say so, want 1", n)
	}
}

func handshakes(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_ = connection.(*tls.Conn).Handshake() // it fails: the client does not accept the certificate
		_ = connection.Close()
	}
}
