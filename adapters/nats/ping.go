package nats

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// Facts are what doctor says of a stream.
type Facts struct {
	Version  string // of the server
	Stream   string
	Replicas int // on so many servers an event is before it is acknowledged
}

// Ping checks that messages can be published: a server answers, has JetStream, and the stream is there and usable. An
// error says what to do. Ping takes a few seconds at most and ends with ctx.
func Ping(ctx context.Context, options Options) (Facts, error) {
	options = options.withDefaults()
	c, err := dial(options, nil)
	if err != nil {
		return Facts{}, options.unreachable(err)
	}
	defer c.close()
	info, err := c.info(ctx)
	switch {
	case errors.Is(err, ErrNoStream):
		return Facts{}, fmt.Errorf("NATS answers at %s, but %w (`hexorders serve` creates it at start)", options.hosts(), err)
	case err != nil:
		return Facts{}, fmt.Errorf("NATS answers at %s, but its JetStream does not: %w", options.hosts(), c.explain(err))
	}
	return Facts{c.nc.ConnectedServerVersion(), info.Config.Name, info.Config.Replicas}, nil
}

// unreachable adds to the error of a connection what to do about it.
func (o Options) unreachable(err error) error {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fmt.Errorf("NATS at %s refuses this client (%w): put user and password into HEXORDERS_NATS_URL, or name a file of "+
			"credentials in HEXORDERS_NATS_CREDENTIALS", o.hosts(), err)
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("NATS at %s and this client do not agree on TLS (%w): tls:// in HEXORDERS_NATS_URL wants it", o.hosts(), err)
	}
	return fmt.Errorf("no nats-server answers at %s (%w): start one with scripts/services up nats, or name another in "+
		"HEXORDERS_NATS_URL", o.hosts(), err)
}

// hosts are the addresses without what they may hold of users and passwords.
func (o Options) hosts() string {
	var hosts []string
	for server := range strings.SplitSeq(o.URL, ",") {
		host := "?"
		if u, err := url.Parse(strings.TrimSpace(server)); err == nil && u.Host != "" {
			host = u.Host
		}
		hosts = append(hosts, host)
	}
	return strings.Join(hosts, ",")
}
