package main

import (
	"context"
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
	return withConfig(cmd, func(ctx context.Context, _ *Config, s *storage) error { return do(ctx, s) })
}

// withTopic opens the store and the topic that the service uses.
func withTopic(cmd *cobra.Command, do func(context.Context, *Config, *storage, ports.Subscriber) error) error {
	return withConfig(cmd, func(ctx context.Context, c *Config, s *storage) error {
		subscriber, err := c.Broker.subscriber(c, s, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		return do(ctx, c, s, subscriber)
	})
}

func withConfig(cmd *cobra.Command, do func(context.Context, *Config, *storage) error) error {
	c, warnings, err := loadConfig()
	if err != nil {
		return err
	}
	printWarnings(cmd.ErrOrStderr(), warnings)
	ctx, cancel := context.WithTimeout(cmd.Context(), connectTimeout)
	defer cancel()
	s, err := openShared(ctx, &c)
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
