package app

import "hexorders/ports"

// admission bounds the commands under way. A store that commits in groups has its best rate with some commands in each
// group; more than that make each of them wait longer and none of them ready earlier. So the next one is refused at once,
// before it costs a read, and its caller can try again. A count bounds the wait as well as a clock would, because all
// commands of one group end together.
type admission chan struct{}

const (
	// defaultMaxCommands is twice the number of clients with which MongoDB's rate levels off (docs/benchmarks.md).
	defaultMaxCommands = 128
	// maxWaiting bounds the commands that wait for one order, so that a hot order leaves places for the others.
	maxWaiting = defaultMaxCommands / 2
)

// enter takes a place. The caller must call leave. Error: ports.ErrOverloaded.
func (a admission) enter() (leave func(), err error) {
	select {
	case a <- struct{}{}:
		return func() { <-a }, nil
	default:
		return nil, ports.ErrOverloaded
	}
}
