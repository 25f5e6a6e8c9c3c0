package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexorders/core/order"
	"hexorders/ports"
)

// children are what this test binary can do as another process, by name. Each is given the database's path first.
var children = map[string]func(ctx context.Context, args []string) error{
	"save": childSaves,
	"add":  childAdds,
	"tail": childTails,
	"read": childReads,
	"lock": childLocks,
	"feed": childFeeds,
	"swap": childSwaps,
}

// childSaves saves orders without end, several at once, and prints "ID VERSION" after each Save that has returned. Its
// second argument makes the ids its own.
func childSaves(ctx context.Context, args []string) error {
	db, err := Open(ctx, args[0])
	if err != nil {
		return err
	}
	store := NewStore(db)
	var printing sync.Mutex
	all, ctx := errgroup.WithContext(ctx)
	for client := range 8 {
		all.Go(func() error {
			for n := 0; ; n++ {
				o, err := order.New(fmt.Sprintf("%s-%d-%06d", args[1], client, n), "9999",
					[]order.Item{{Product: "1111", Amount: 1}}, time.Now())
				for change := 0; err == nil && change < 3; change++ {
					if err = store.Save(ctx, o, ports.IdempotencyKey{}); err == nil {
						printing.Lock()
						_, err = fmt.Println(o.ID(), o.Version())
						printing.Unlock()
					}
					err = errors.Join(err, o.AddItem("1111", 1, time.Now()), o.AddItem("2222", 1, time.Now()))
				}
				if err != nil {
					return err
				}
			}
		})
	}
	return all.Wait()
}

// childAdds adds a piece to each order of a file that has some, over and over, while other processes change it too; then
// it prints how many pieces it has added. Its second argument is how often.
func childAdds(ctx context.Context, args []string) error {
	var orders, times int
	if _, err := fmt.Sscan(args[1]+" "+args[2], &orders, &times); err != nil {
		return err
	}
	db, err := Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	store := NewStore(db)
	all, ctx := errgroup.WithContext(ctx)
	for range 4 {
		all.Go(func() error {
			for n := range times {
				if err := addPiece(ctx, store, fmt.Sprintf("order-%d", n%orders)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	_, err = fmt.Println(4 * times)
	return err
}

func addPiece(ctx context.Context, store *Store, id string) error {
	for {
		o, err := store.Get(ctx, id)
		if err != nil {
			return err
		}
		if err := o.AddItem("1111", 1, time.Now()); err != nil {
			return err
		}
		if err := store.Save(ctx, o, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrConflict) {
			return err
		}
	}
}

// childTails prints the id of each message in the outbox, until its input ends.
func childTails(ctx context.Context, args []string) error {
	db, err := Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	err = NewOutbox(db).Tail(untilInputEnds(ctx), "", func(m ports.Message, _ ports.Position) error {
		_, err := fmt.Println(m.ID)
		return err
	})
	return exceptCancelled(err)
}

// childReads prints the id of each message in the topic, until its input ends.
func childReads(ctx context.Context, args []string) error {
	db, err := Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	ctx = untilInputEnds(ctx)
	for after := int64(0); ; {
		messages, last, err := NewTopic(db).Read(ctx, after, 10)
		if err != nil {
			return exceptCancelled(err)
		}
		after = last
		for _, m := range messages {
			if _, err := fmt.Println(m.ID); err != nil {
				return err
			}
		}
	}
}

// childFeeds feeds a read model together with others, and prints the number of each message that it was the one to commit.
// Its second argument is how many messages there are.
func childFeeds(ctx context.Context, args []string) error {
	messages, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	db, err := Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = feed(ctx, NewReadModel(db, shop), ports.Generation{Number: 1}, messages, func(n int) { fmt.Println(n) })
	return err
}

// childSwaps rebuilds a read model of five messages over and over, and prints the number of each generation before
// it swaps it in.
func childSwaps(ctx context.Context, args []string) error {
	db, err := Open(ctx, args[0])
	if err != nil {
		return err
	}
	m := NewReadModel(db, shop)
	for {
		g, err := m.Shadow(ctx)
		if err == nil {
			_, err = feed(ctx, m, g, 5, func(int) {})
		}
		if err == nil {
			err = m.Commit(ctx, g, ports.Change{Rows: map[string]ports.RowChanges{"buyers": {
				Add: []ports.Addition{{Key: "generation", Max: []ports.Count{{Name: "orders", Value: int64(g.Number)}}}},
			}}})
		}
		if err == nil {
			fmt.Println(g.Number)
			err = m.Swap(ctx, g)
		}
		if err != nil {
			return err
		}
	}
}

// childLocks holds the file's lock until its input ends, as a forgotten sqlite3 shell does.
func childLocks(ctx context.Context, args []string) error {
	pool, err := connect(args[0])
	if err != nil {
		return err
	}
	defer pool.Close()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		return err
	}
	if _, err := fmt.Println("locked"); err != nil {
		return err
	}
	<-untilInputEnds(ctx).Done()
	_, err = conn.ExecContext(context.WithoutCancel(ctx), "COMMIT")
	return err
}

func untilInputEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return ctx
}

func exceptCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// lines reads whole lines until there are no more; a torn last one is left out.
func lines(from *bufio.Reader) (all []string) {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return all
		}
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
}
