//go:build cgo

package kafka

import (
	"testing"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestSubscriber(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	porttest.Subscriber(t, func(t testing.TB) porttest.Feed {
		topic := c.newTopic(t)
		c.createTopic(t, topic, 3, nil)
		options := Options{Brokers: c.brokers, Topic: topic, Partitions: 3}
		p := open(t, options)
		return porttest.Feed{
			Subscriber: newSubscriber(t, options),
			Append:     func(t testing.TB, messages ...ports.Message) { t.Helper(); publish(t, p, messages...) },
		}
	})
}
