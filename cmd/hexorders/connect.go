package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"hexorders/ports"
)

// What the commands beside a running service have in common: they open the store and the broker that it uses.

// openShared opens a store that another process may have open. What goes wrong comes back as an error, not as a log line.
func openShared(ctx context.Context, c *Config) (*storage, error) {
	if !c.Store.shared {
		return nil, notShared(c.Store)
	}
	return openExisting(ctx, c)
}

// openReadSide opens the topic and the views. Where only the process that serves can open the store, they may be in a
// companion, which others can read.
func openReadSide(ctx context.Context, c *Config) (*storage, error) {
	if c.Store.shared || c.Store.volatile {
		return openShared(ctx, c)
	}
	s, err := openCompanionAlone(ctx, c)
	if errors.Is(err, errNoCompanion) {
		return nil, notShared(c.Store)
	}
	return s, err
}

// openExisting opens the store but does not create one: a mistyped path is not an empty store.
func openExisting(ctx context.Context, c *Config) (*storage, error) {
	if c.Store.exists != nil {
		if err := c.Store.exists(c); err != nil {
			return nil, err
		}
	}
	return openStorage(ctx, c, slog.New(slog.DiscardHandler), watch{}, false)
}

// notShared is the error of a command that cannot open the store beside the service.
func notShared(k storeKind) error {
	var others []string
	for _, other := range stores {
		if other.shared {
			others = append(others, other.name)
		}
	}
	return usagef("only the process that serves can open the %s store: set HEXORDERS_STORE to %s, here and there",
		k.name, alternatives(others))
}

// withStorage opens the store that the service uses.
func withStorage(cmd *cobra.Command, do func(context.Context, *storage) error) error {
	return withConfig(cmd, openShared, func(ctx context.Context, _ *Config, s *storage) error { return do(ctx, s) })
}

// withViews opens the views that the service fills.
func withViews(cmd *cobra.Command, do func(context.Context, *storage) error) error {
	return withConfig(cmd, openReadSide, func(ctx context.Context, _ *Config, s *storage) error { return do(ctx, s) })
}

// withTopic opens the topic and the views that the service uses, and the store if others can open it.
func withTopic(cmd *cobra.Command, do func(context.Context, *Config, *storage, ports.Subscriber) error) error {
	return withConfig(cmd, openReadSide, func(ctx context.Context, c *Config, s *storage) error {
		subscriber, err := c.Broker.subscriber(c, s, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		return do(ctx, c, s, subscriber)
	})
}

func withConfig(
	cmd *cobra.Command, open func(context.Context, *Config) (*storage, error), do func(context.Context, *Config, *storage) error,
) error {
	c, warnings, err := loadConfig()
	if err != nil {
		return err
	}
	printWarnings(cmd.ErrOrStderr(), warnings)
	ctx, cancel := context.WithTimeout(cmd.Context(), connectTimeout)
	defer cancel()
	s, err := open(ctx, &c)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = s.close(closing) // the command has done its work
	}()
	return do(ctx, &c, s)
}
