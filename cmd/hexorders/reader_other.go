//go:build !unix

package main

import (
	"context"
	"io"
)

// untilReaderLeaves is ctx: that a reader has left is found out by the next print.
func untilReaderLeaves(ctx context.Context, _ io.Writer) (_ context.Context, unwatch func()) {
	return context.WithCancel(ctx)
}
