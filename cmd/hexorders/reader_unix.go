//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lookForReaderEvery is how long, in milliseconds, a watch may go on after it is no longer wanted.
const lookForReaderEvery = 100

// untilReaderLeaves is ctx until whoever reads from the pipe has closed it. A print would find that out too, but not
// before there is something to print: `hexorders events tail | head -n 4` should end with head. It watches until
// unwatch is called.
func untilReaderLeaves(ctx context.Context, pipe io.Writer) (_ context.Context, unwatch func()) {
	ctx, cancel := context.WithCancel(ctx)
	file, ok := pipe.(*os.File)
	if !ok {
		return ctx, cancel
	}
	descriptor, done := int32(file.Fd()), make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			asked := []unix.PollFd{{Fd: descriptor}} // for no event: errors and hang-ups are told unasked
			_, err := unix.Poll(asked, lookForReaderEvery)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil, asked[0].Revents&unix.POLLNVAL != 0:
				return // nothing that can be watched
			case asked[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
				cancel()
			}
		}
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}
