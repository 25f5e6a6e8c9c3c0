package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/test/checker"
)

// fault is one row of the table. do breaks something under load, waits as long as the row says, and mends it.
type fault struct {
	name    string
	what    string  // was done, for the table
	program program // of the services at first, current when empty
	sqlite  bool    // the store is a file on a small disk
	// tolerates are promises that this fault takes away, as the documentation says.
	tolerates []checker.Rule
	do        func(ctx context.Context, b *bed) error
}

// short is how long what is broken stays broken, where it is not killed and comes back.
const short = 10 * time.Second

// frozen is longer than every lease and every election timeout.
const frozen = 15 * time.Second

var faults = []fault{
	// MongoDB
	{name: "primary killed", what: "SIGKILL to the primary; it is back after 10 s",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			b.kill(primary)
			return errors.Join(wait(ctx, short), b.startServer(primary))
		})},
	{name: "primary frozen", what: "SIGSTOP to the primary for 15 s",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			return b.freeze(ctx, frozen, primary)
		})},
	{name: "primary stepped down", what: "`replSetStepDown`",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			return b.admin(ctx, primary, bson.D{{Key: "replSetStepDown", Value: 30}, {Key: "secondaryCatchUpPeriodSecs", Value: 2}}, nil)
		})},
	{name: "primary cut off from the majority",
		what: "no packets between the primary and its secondaries for 15 s; the services still reach it",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			rest := others(mongos, primary)
			return errors.Join(separate(primary, rest...), wait(ctx, frozen), unite(primary, rest...))
		})},
	{name: "secondary lost", what: "SIGKILL to a secondary; it is back after 10 s",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			secondary := others(mongos, primary)[0]
			b.kill(secondary)
			return errors.Join(wait(ctx, short), b.startServer(secondary))
		})},
	{name: "all mongods killed", what: "SIGKILL to all three at once, started again at once",
		do: func(ctx context.Context, b *bed) error {
			b.kill(mongos...)
			return b.revive()
		}},
	{name: "answers to commits lost", what: "for 10 s the primary executes every third commit and then reports a write concern error, " +
		"or closes the connection before it (failCommand)", do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
		for i := range 40 {
			data := bson.D{{Key: "failCommands", Value: bson.A{"commitTransaction"}}}
			if i%2 == 0 {
				lost := bson.D{{Key: "code", Value: 91}, {Key: "errmsg", Value: "lost"}}
				data = append(data, bson.E{Key: "writeConcernError", Value: lost})
			} else {
				data = append(data, bson.E{Key: "closeConnection", Value: true})
			}
			if err := errors.Join(b.failCommand(ctx, primary, bson.D{{Key: "times", Value: 3}}, data), wait(ctx, short/40)); err != nil {
				return err
			}
		}
		return b.failCommand(ctx, primary, "off", nil)
	})},
	{name: "slow commits", what: "every commit takes 700 ms longer for 10 s (failCommand)",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			data := bson.D{
				{Key: "failCommands", Value: bson.A{"commitTransaction"}},
				{Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: 700},
			}
			return errors.Join(b.failCommand(ctx, primary, "alwaysOn", data), wait(ctx, short), b.failCommand(ctx, primary, "off", nil))
		})},
	{name: "disk of the primary full", what: "the primary's disk is filled; after 10 s there is room again, and it is started if it ended",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			return errors.Join(b.fill(ctx, primary), b.revive())
		})},
	{name: "oplog overrun while the services sleep", what: "both services SIGSTOPped, the oplog overwritten with 200 MB, then SIGCONT",
		do: onPrimary(func(ctx context.Context, b *bed, primary string) error {
			b.signal(syscall.SIGSTOP, hexes...)
			err := b.overrunOplog(ctx)
			b.signal(syscall.SIGCONT, hexes...)
			return err
		})},
	{name: "oplog overrun while the relay works", what: "200 MB of other writes pass through the oplog of 64 MB",
		do: func(ctx context.Context, b *bed) error {
			return b.overrunOplog(ctx)
		}},

	// Kafka
	{name: "broker killed", what: "SIGKILL to the leader of a partition; it is back after 10 s",
		do: onLeader(func(ctx context.Context, b *bed, leader string) error {
			b.kill(leader)
			return errors.Join(wait(ctx, short), b.startServer(leader))
		})},
	{name: "broker frozen", what: "SIGSTOP to the leader of a partition for 15 s",
		do: onLeader(func(ctx context.Context, b *bed, leader string) error {
			return b.freeze(ctx, frozen, leader)
		})},
	{name: "all brokers killed", what: "SIGKILL to all three at once, started again at once",
		do: func(ctx context.Context, b *bed) error {
			b.kill(kafkas...)
			return b.revive()
		}},
	{name: "leader moved", what: "SIGTERM to the leader of a partition, which hands its partitions over; it is back after 10 s",
		do: onLeader(func(ctx context.Context, b *bed, leader string) error {
			_, err := b.stop(leader, time.Minute)
			return errors.Join(err, wait(ctx, short), b.startServer(leader))
		})},
	{name: "too few replicas", what: "two brokers frozen for 15 s; min.insync.replicas is 2",
		do: onLeader(func(ctx context.Context, b *bed, leader string) error {
			return b.freeze(ctx, frozen, others(kafkas, leader)...)
		})},
	{name: "Kafka away", what: "the cables of all brokers pulled for 60 s",
		do: func(ctx context.Context, b *bed) error {
			return b.unplug(ctx, time.Minute, kafkas...)
		}},

	{name: "partitions added", what: "6 more for the topic of 12; an order's later events may go to another partition (docs/events.md)",
		tolerates: []checker.Rule{checker.WrongPartition, checker.Scattered, checker.OutOfOrder},
		do: func(ctx context.Context, b *bed) error {
			added, err := b.kadm.CreatePartitions(ctx, 6, b.name)
			if err != nil {
				return err
			}
			return errors.Join(added[b.name].Err, wait(ctx, short))
		}},

	{name: "topic recreated", what: "the topic deleted and created again. The lists are incomplete, `hexorders verify` names each event that is " +
		"gone, and `hexorders views rebuild --from store` makes the lists whole; the verdict is about orders that began later",
		do: func(ctx context.Context, b *bed) error { return b.recreateTopic(ctx) }},

	// SQLite
	{name: "disk of SQLite full", what: "the store of both services is a SQLite file, whose disk is filled; after 10 s there is room again",
		sqlite: true, do: func(ctx context.Context, b *bed) error { return b.fill(ctx, smallDisk) }},

	// Services
	{name: "service frozen beyond its lease", what: "SIGSTOP to the service whose relay holds the lease for 15 s",
		do: func(ctx context.Context, b *bed) error {
			node, err := b.leaseHolder(ctx)
			return errors.Join(err, b.freeze(ctx, frozen, node))
		}},
	{name: "service killed", what: "SIGKILL to the service whose relay holds the lease; it is back at once",
		do: func(ctx context.Context, b *bed) error {
			node, err := b.leaseHolder(ctx)
			b.kill(node)
			return errors.Join(err, b.serve(ctx, node))
		}},
	{name: "both services killed", what: "SIGKILL to both at once; they are back at once",
		do: func(ctx context.Context, b *bed) error {
			b.kill(hexes...)
			return b.serve(ctx, hexes...)
		}},
	{name: "service, primary and broker killed", what: "SIGKILL to one of each at the same moment; they are back at once",
		do: func(ctx context.Context, b *bed) error {
			node, err := b.leaseHolder(ctx)
			primary, err2 := b.primary(ctx)
			leader, err3 := b.leader(ctx, b.name, 0)
			if err := errors.Join(err, err2, err3); err != nil {
				return err
			}
			b.kill(node, primary, leader)
			return errors.Join(b.revive(), b.serve(ctx, node))
		}},
	{name: "services stopped as containers are",
		what: "SIGTERM to one after the other under load; each has to end within 10 s, and is back at once",
		do: func(ctx context.Context, b *bed) error {
			for _, node := range hexes {
				if err := b.stopInOrder(node, 10*time.Second); err != nil {
					return err
				}
				if err := b.serve(ctx, node); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "rolling upgrade", what: "both services of the version before are replaced under load, one after the other", program: before,
		do: func(ctx context.Context, b *bed) error {
			for _, node := range hexes {
				if err := b.stopInOrder(node, short); err != nil {
					return err
				}
				// Both versions work beside each other for a while.
				if err := errors.Join(b.serve(ctx, node), wait(ctx, short/2)); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "no file descriptors", what: "one service may open no further file or connection for 10 s",
		do: func(ctx context.Context, b *bed) error {
			return errors.Join(b.descriptors(hexes[0], 3), wait(ctx, short), b.descriptors(hexes[0], 4096))
		}},
	{name: "clock an hour ahead", what: "one service's clock jumps an hour ahead for 10 s, and back",
		program: withClock, do: clock(time.Hour)},
	{name: "clock an hour behind", what: "one service's clock jumps an hour back for 10 s, and forth",
		program: withClock, do: clock(-time.Hour)},

	// The network
	{name: "latency", what: "50 to 100 ms between the services and all servers, each way, for 15 s",
		do: func(ctx context.Context, b *bed) error {
			b.delay(100 * time.Millisecond)
			defer b.delay(0)
			return wait(ctx, frozen)
		}},
	{name: "packets lost", what: "the services' cables are pulled for 0.3 s in every second, for 15 s",
		do: func(ctx context.Context, b *bed) error {
			for range 15 {
				if err := errors.Join(b.unplug(ctx, 300*time.Millisecond, hexes...), wait(ctx, 700*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "connections half open", what: "one service's cable is pulled for 30 s: nothing answers, nothing is refused",
		do: func(ctx context.Context, b *bed) error {
			return b.unplug(ctx, 30*time.Second, hexes[0])
		}},
	{name: "connections reset", what: "for 10 s a third of the services' connections are reset twice a second",
		do: func(ctx context.Context, b *bed) error {
			for range 20 {
				for _, p := range b.proxies {
					p.resetSome(1.0 / 3)
				}
				if err := wait(ctx, short/20); err != nil {
					return err
				}
			}
			return nil
		}},
	{name: "MongoDB cut off", what: "the cables of all mongods pulled for 15 s",
		do: func(ctx context.Context, b *bed) error {
			return b.unplug(ctx, frozen, mongos...)
		}},
}

// seeded proves that the bed can be red: it takes an order away that a client was told of. It is in no table.
var seeded = fault{name: "seeded", what: "an order deleted from the store", do: func(ctx context.Context, b *bed) error {
	client, err := mongo.Connect(options.Client().ApplyURI(mongoAt))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	paid := bson.D{{Key: "status", Value: "paid"}}
	return b.until(ctx, "an order is deleted", func(ctx context.Context) error {
		deleted, err := client.Database(b.name).Collection("orders").DeleteOne(ctx, paid)
		if err == nil && deleted.DeletedCount != 1 {
			err = errors.New("no order is paid yet")
		}
		return err
	})
}}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func onPrimary(do func(ctx context.Context, b *bed, primary string) error) func(context.Context, *bed) error {
	return func(ctx context.Context, b *bed) error {
		primary, err := b.primary(ctx)
		if err != nil {
			return err
		}
		return do(ctx, b, primary)
	}
}

func onLeader(do func(ctx context.Context, b *bed, leader string) error) func(context.Context, *bed) error {
	return func(ctx context.Context, b *bed) error {
		leader, err := b.leader(ctx, b.name, 0)
		if err != nil {
			return err
		}
		return do(ctx, b, leader)
	}
}

func (b *bed) freeze(ctx context.Context, d time.Duration, nodes ...string) error {
	b.signal(syscall.SIGSTOP, nodes...)
	defer b.signal(syscall.SIGCONT, nodes...)
	return wait(ctx, d)
}

func (b *bed) unplug(ctx context.Context, d time.Duration, nodes ...string) (err error) {
	for _, node := range nodes {
		err = errors.Join(err, cut(node))
	}
	err = errors.Join(err, wait(ctx, d))
	for _, node := range nodes {
		err = errors.Join(err, plug(node))
	}
	return err
}

func (b *bed) delay(d time.Duration) {
	for _, p := range b.proxies {
		p.delay.Store(int64(d))
	}
}

func (b *bed) failCommand(ctx context.Context, node string, mode any, data bson.D) error {
	command := bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}}
	if data != nil {
		command = append(command, bson.E{Key: "data", Value: data})
	}
	return b.admin(ctx, node, command, nil)
}

// leaseHolder is the service whose relay publishes.
func (b *bed) leaseHolder(ctx context.Context) (string, error) {
	for _, node := range hexes {
		_, metrics, err := read(ctx, b.base(node)+"/metrics")
		if err != nil {
			return "", err
		}
		if strings.Contains(metrics, "\nhexorders_relay_lease_held 1\n") {
			return node, nil
		}
	}
	return "", errors.New("no relay holds the lease")
}

// fill fills a small disk, and makes room again.
func (b *bed) fill(ctx context.Context, node string) error {
	filler := filepath.Join(b.data(node), "filler")
	_ = sh("cat /dev/zero > %s", filler) // ends with "no space left on device"
	return errors.Join(wait(ctx, short), os.Remove(filler))
}

// overrunOplog writes three times what the oplog keeps into another database.
func (b *bed) overrunOplog(ctx context.Context) error {
	client, err := mongo.Connect(options.Client().ApplyURI(mongoAt))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	filler := client.Database("filler").Collection("filler")
	piece := strings.Repeat("x", 4<<20)
	for range 3 * oplogMB / 4 {
		if _, err := filler.InsertOne(ctx, bson.D{{Key: "piece", Value: piece}}); err != nil {
			return err
		}
	}
	return filler.Drop(ctx)
}

// descriptors sets how many files and connections a service may have open. What it has open stays open.
func (b *bed) descriptors(node string, n int) error {
	return sh("prlimit --pid %d --nofile=%d:", b.running[node].cmd.Process.Pid, n)
}
