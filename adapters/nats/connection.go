package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// requestTimeout bounds one request to the server. It is short because callers retry.
const requestTimeout = 2 * time.Second

// connection is one client's connection. While the server is down it connects again and again.
type connection struct {
	options Options
	nc      *nats.Conn
	js      jetstream.JetStream
}

// connect begins to connect and returns at once, whether a server answers or not. An error means that the options are
// invalid.
func connect(o Options, lost func(error), more ...jetstream.JetStreamOpt) (*connection, error) {
	return dial(o, more, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err != nil && !nc.IsClosed() {
				o.Logger.Warn("the connection to NATS is lost", "server", nc.ConnectedAddr(), "err", err)
			}
			lost(err)
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			o.Logger.Info("connected to NATS", "server", nc.ConnectedAddr())
		}),
	)
}

func dial(o Options, more []jetstream.JetStreamOpt, options ...nats.Option) (*connection, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	options = append(options,
		nats.Name("hexorders"),
		nats.Timeout(requestTimeout),
		nats.ReconnectWait(200*time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2),
		// What is published while there is no connection fails at once, and is not sent behind its caller's back later.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Logger.Warn("the NATS client reports an error", "err", err)
		}),
	)
	if o.Security.CA != "" {
		options = append(options, nats.RootCAs(o.Security.CA))
	}
	if o.Security.Certificate != "" {
		options = append(options, nats.ClientCert(o.Security.Certificate, o.Security.Key))
	}
	if o.Security.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Security.Credentials))
	}
	nc, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, append(more, jetstream.WithDefaultTimeout(requestTimeout))...)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &connection{options: o, nc: nc, js: js}, nil
}

// close ends the connection.
func (c *connection) close() { c.nc.Close() }

// persist tries until it succeeds, fails permanently or ctx ends. It logs an error once, until another one comes.
func persist[T any](ctx context.Context, c *connection, what string, try func() (T, error)) (T, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond
	pause.MaxInterval = 500 * time.Millisecond
	lastLogged := ""
	return backoff.Retry(ctx, try, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, _ time.Duration) {
			if text := err.Error(); text != lastLogged && ctx.Err() == nil {
				lastLogged = text
				c.options.Logger.Warn("NATS does not do it yet; it is tried until it does", "what", what, "err", c.explain(err))
			}
		}))
}

// explain adds what is known about an error.
func (c *connection) explain(err error) error {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting):
		if why := c.nc.LastError(); why != nil {
			return fmt.Errorf("no connection: %w", why)
		}
		return errors.New("no connection")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: start nats-server with JetStream (-js), and for this account", err)
	}
	return err
}
