//go:build cgo

package kafka

import (
	"maps"
	"strings"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// client is the configuration of a librdkafka client: what all of them have in common, then the client's own settings.
func (o Options) client(own kafka.ConfigMap) kafka.ConfigMap {
	config := kafka.ConfigMap{
		"bootstrap.servers": o.Brokers,
		"client.id":         "hexorders",
		// A topic that a broker creates automatically has the broker's default of one partition.
		"allow.auto.create.topics": false,

		// Reconnect within two seconds after the broker is back, also after an hour. Keepalive detects a connection
		// that a firewall has dropped.
		"reconnect.backoff.ms":               100,
		"reconnect.backoff.max.ms":           2000,
		"socket.keepalive.enable":            true,
		"socket.connection.setup.timeout.ms": 10_000,
	}
	s := o.Security
	if s.authenticates() { // librdkafka warns of a mechanism that does not count
		config["sasl.mechanism"] = strings.ToUpper(s.Mechanism)
	}
	for name, value := range map[string]string{
		"security.protocol": s.Protocol, "sasl.username": s.Username, "sasl.password": s.Password,
		"ssl.ca.location": s.CA, "ssl.certificate.location": s.Certificate, "ssl.key.location": s.Key,
	} {
		if value != "" {
			config[name] = value
		}
	}
	maps.Copy(config, own)
	return config
}
