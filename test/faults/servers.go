package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

const (
	mongoPort = "27017"
	kafkaPort = "9092"
	// Small, so that a fault can fill them: the disk of a mongod, and its oplog.
	diskMB, oplogMB = 1500, 64
	// The disk of a SQLite file.
	smallDisk, fileDiskMB = "disk", 200
)

var (
	mongos  = []string{"mongo1", "mongo2", "mongo3"}
	kafkas  = []string{"kafka1", "kafka2", "kafka3"}
	hexes   = []string{"hex1", "hex2"}
	mongoAt = "mongodb://mongo1:27017,mongo2:27017,mongo3:27017/?replicaSet=rs0"
	kafkaAt = "kafka1:9092,kafka2:9092,kafka3:9092"
)

func (b *bed) nodes() []string {
	return slices.Concat(mongos, kafkas, hexes)
}

// process is a server or a service that runs in its namespace.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch starts a program in a node's namespace, with its output at the end of the node's log.
func (b *bed) launch(node, hosts string, environment []string, program ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.folder, node+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p := &process{name: node, cmd: b.in(node, hosts, program...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = environment, b.folder
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	b.running[node] = p
	return p, nil
}

// signal fails only when the process has ended, and then there is nothing to tell it.
func (b *bed) signal(s syscall.Signal, nodes ...string) {
	for _, node := range nodes {
		if p := b.running[node]; p != nil {
			_ = p.cmd.Process.Signal(s)
		}
	}
}

// kill is kill -9 for all of them at once.
func (b *bed) kill(nodes ...string) {
	b.signal(syscall.SIGKILL, nodes...)
	for _, node := range nodes {
		if p := b.running[node]; p != nil {
			<-p.ended
		}
	}
}

// stop asks a process to end and returns its exit code.
func (b *bed) stop(node string, limit time.Duration) (int, error) {
	b.signal(syscall.SIGTERM, node)
	select {
	case <-b.running[node].ended:
		return b.running[node].cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("%s still runs %s after SIGTERM", node, limit)
	}
}

// stopInOrder asks a service to end, which has to succeed.
func (b *bed) stopInOrder(node string, limit time.Duration) error {
	code, err := b.stop(node, limit)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code of %s after SIGTERM is %d", node, code)
	}
	return err
}

// dist is where scripts/services keeps its downloads.
func dist(pattern string) (string, error) {
	dist := os.Getenv("SERVICES_DIST")
	if dist == "" {
		repository, err := repository()
		if err != nil {
			return "", err
		}
		dist = filepath.Join(repository, ".services", "dist")
	}
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, fmt.Errorf("no %s in %s: run scripts/services up once, it downloads it", pattern, dist))
	}
	return found[0], nil
}

// startServers starts all six and waits until they take writes.
func (b *bed) startServers(ctx context.Context) error {
	for _, node := range slices.Concat(mongos, kafkas) {
		port := kafkaPort
		if strings.HasPrefix(node, "mongo") {
			port = mongoPort
			if err := b.smallDisk(node, diskMB); err != nil {
				return err
			}
		} else if err := b.formatKafka(node); err != nil {
			return err
		}
		listener, err := listen(node, port)
		if err != nil {
			return err
		}
		b.proxies[node] = newProxy(listener, address(node)+":"+port)
		if err := b.startServer(node); err != nil {
			return err
		}
	}
	members := bson.A{}
	for i, node := range mongos {
		members = append(members, bson.D{{Key: "_id", Value: i}, {Key: "host", Value: node + ":" + mongoPort}})
	}
	initiate := bson.D{{Key: "replSetInitiate", Value: bson.D{{Key: "_id", Value: "rs0"}, {Key: "members", Value: members}}}}
	err := b.until(ctx, "the replica set is made", func(ctx context.Context) error { return b.admin(ctx, mongos[0], initiate, nil) })
	if err != nil {
		return err
	}
	return b.whole(ctx)
}

// smallDisk makes a disk that a fault can fill, and is a node's data folder.
func (b *bed) smallDisk(node string, mb int) error {
	return sh("mkdir %[1]s && mount -t tmpfs -o size=%[2]dm tmpfs %[1]s", b.data(node), mb)
}

func (b *bed) data(node string) string { return filepath.Join(b.folder, node) }

// startServer starts a mongod or a broker; it is ready some time later.
func (b *bed) startServer(node string) error {
	if strings.HasPrefix(node, "kafka") {
		_, err := b.launch(node, b.direct, os.Environ(), b.java("384m", "kafka.Kafka", b.data(node)+".properties")...)
		return err
	}
	_, err := b.launch(node, b.direct, os.Environ(), b.mongod, "--dbpath", b.data(node), "--port", mongoPort,
		"--bind_ip", address(node), "--replSet", "rs0", "--oplogSize", fmt.Sprint(oplogMB), "--wiredTigerCacheSizeGB", "0.25",
		// As scripts/services has it, which says why.
		"--setParameter", "transactionLifetimeLimitSeconds=5", "--setParameter", "enableTestCommands=1")
	return err
}

func (b *bed) java(heap string, args ...string) []string {
	return append([]string{"java", "-Xmx" + heap, "-XX:TieredStopAtLevel=1", "-cp", b.kafka + "/*",
		"-Dlog4j2.configurationFile=" + filepath.Join(b.folder, "kafka.log4j2.properties")}, args...)
}

func (b *bed) formatKafka(node string) error {
	var voters []string
	for _, other := range kafkas {
		voters = append(voters, other[len(other)-1:]+"@"+other+":9093")
	}
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=%s
controller.quorum.voters=%s
listeners=CLIENTS://%[3]s:9092,CONTROLLER://%[3]s:9093
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%s
auto.create.topics.enable=false
default.replication.factor=3
num.partitions=12
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
share.coordinator.state.topic.replication.factor=3
group.initial.rebalance.delay.ms=0
# The defaults are 9 s, 2 s and 30 s; a fault that lasts 15 s should be one that Kafka notices.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=5000
`, node[len(node)-1:], strings.Join(voters, ","), node, b.data(node))
	logging := "status = error\nappender.out.name = out\nappender.out.type = Console\nappender.out.layout.type = PatternLayout\n" +
		"rootLogger.level = warn\nrootLogger.appenderRef.out.ref = out\n"
	file := b.data(node) + ".properties"
	err := errors.Join(os.WriteFile(file, []byte(properties), 0o600),
		os.WriteFile(filepath.Join(b.folder, "kafka.log4j2.properties"), []byte(logging), 0o600))
	if err != nil {
		return err
	}
	format := b.java("128m", "kafka.tools.StorageTool", "format", "--cluster-id", "aGV4b3JkZXJzLWZhdWx0cw", "--config", file)
	if output, err := exec.Command(format[0], format[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("format %s: %w\n%s", node, err, output)
	}
	return nil
}

// revive starts the servers again that do not run.
func (b *bed) revive() error {
	for _, node := range slices.Concat(mongos, kafkas) {
		select {
		case <-b.running[node].ended:
			if err := b.startServer(node); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}

// whole waits until all six servers are as they should be: one primary and two secondaries that keep up, and every
// partition with all its replicas in sync.
func (b *bed) whole(ctx context.Context) error {
	var both errgroup.Group
	both.Go(func() error { return b.until(ctx, "the replica set is whole", b.mongoWhole) })
	both.Go(func() error { return b.until(ctx, "the Kafka cluster is whole", b.kafkaWhole) })
	return both.Wait()
}

func (b *bed) mongoWhole(ctx context.Context) error {
	var status struct {
		Members []struct {
			Name     string
			StateStr string
			Optime   struct{ TS bson.Timestamp }
		}
	}
	primary, err := b.primary(ctx)
	if err != nil {
		return err
	}
	if err := b.admin(ctx, primary, bson.D{{Key: "replSetGetStatus", Value: 1}}, &status); err != nil {
		return err
	}
	for _, m := range status.Members {
		if m.StateStr != "PRIMARY" && m.StateStr != "SECONDARY" {
			return fmt.Errorf("%s is %s", m.Name, m.StateStr)
		}
		if lag := time.Since(time.Unix(int64(m.Optime.TS.T), 0)); lag > 30*time.Second {
			return fmt.Errorf("%s is %s behind", m.Name, lag)
		}
	}
	return nil
}

func (b *bed) kafkaWhole(ctx context.Context) error {
	metadata, err := b.kadm.Metadata(ctx)
	if err != nil {
		return err
	}
	if len(metadata.Brokers) < len(kafkas) {
		return fmt.Errorf("%d brokers are there", len(metadata.Brokers))
	}
	for _, topic := range metadata.Topics {
		for _, p := range topic.Partitions {
			if len(p.ISR) < len(kafkas) || p.Leader < 0 {
				return fmt.Errorf("partition %d of %s has leader %d and %d replicas in sync",
					p.Partition, topic.Topic, p.Leader, len(p.ISR))
			}
		}
	}
	return nil
}

// primary is the member that takes writes.
func (b *bed) primary(ctx context.Context) (string, error) {
	for _, node := range mongos {
		var hello struct {
			IsWritablePrimary bool
		}
		if err := b.admin(ctx, node, bson.D{{Key: "hello", Value: 1}}, &hello); err == nil && hello.IsWritablePrimary {
			return node, nil
		}
	}
	return "", errors.New("there is no primary")
}

func others(all []string, one string) (rest []string) {
	for _, node := range all {
		if node != one {
			rest = append(rest, node)
		}
	}
	return rest
}

// admin runs a command on one mongod itself.
func (b *bed) admin(ctx context.Context, node string, command bson.D, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().SetHosts([]string{node + ":" + mongoPort}).SetDirect(true).
		SetServerSelectionTimeout(2 * time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	result := client.Database("admin").RunCommand(ctx, command)
	if answer == nil {
		return result.Err()
	}
	return result.Decode(answer)
}

// leader is the broker that leads a partition of the topic.
func (b *bed) leader(ctx context.Context, topic string, partition int32) (string, error) {
	metadata, err := b.kadm.Metadata(ctx, topic)
	if err != nil {
		return "", err
	}
	p, there := metadata.Topics[topic].Partitions[partition]
	if !there || p.Leader < 1 {
		return "", fmt.Errorf("partition %d of %s has no leader", partition, topic)
	}
	return fmt.Sprintf("kafka%d", p.Leader), nil
}

// until asks again and again, for two minutes at most.
func (b *bed) until(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var last error
	for {
		if last = ask(ctx); last == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not in time: %s: %w", what, last)
		}
	}
}
