package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The network: a bridge with this process on it, and a namespace with one cable to the bridge for each server and
// service. The services reach MongoDB and Kafka through proxies on the bridge; the servers reach each other directly.
const (
	bridge    = "hx0"
	here      = "10.99.0.1"
	insideVar = "HEXORDERS_FAULTS_INSIDE"
)

// address is where a node is; proxied is where the services find it.
func address(node string) string { return "10.99.0." + number(node) }

func proxied(node string) string { return "10.99.0.1" + number(node) }

// number is the last part of an address: mongo1 is 11, kafka3 is 23, hex2 is 32.
func number(node string) string {
	tens := map[string]string{"mongo": "1", "kafka": "2", "hex": "3"}
	kind, digit := node[:len(node)-1], node[len(node)-1:]
	return tens[kind] + digit
}

// goInside runs this program again in namespaces of its own, for faults in a folder where all programs are built: from
// inside nothing can be downloaded. All that it starts ends with it, because it is the first process of its process
// namespace.
func goInside(ctx context.Context, folder string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, os.Args[1:]...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = time.Minute
	c.Env = append(os.Environ(), insideVar+"="+folder)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := c.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return errSaid
		}
		return fmt.Errorf("namespaces cannot be made (is kernel.unprivileged_userns_clone off?): %w", err)
	}
	return nil
}

// errSaid is what the program inside has printed.
var errSaid = errors.New("faults broke a promise, or could not be made")

// sh runs a line of shell.
func sh(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	if output, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", line, err, output)
	}
	return nil
}

// network makes the bridge, the namespaces and the two files of host names.
func (b *bed) network() error {
	err := sh(`mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/netns
		ip link set lo up && ip link add %[1]s type bridge && ip addr add %[2]s/24 dev %[1]s && ip link set %[1]s up`, bridge, here)
	if err != nil {
		return err
	}
	var direct, through strings.Builder
	for _, node := range b.nodes() {
		err := sh(`ip netns add %[1]s && ip link add v-%[1]s type veth peer name eth0 netns %[1]s
			ip link set v-%[1]s master %[2]s up
			ip -n %[1]s addr add %[3]s/24 dev eth0 && ip -n %[1]s link set eth0 up && ip -n %[1]s link set lo up`,
			node, bridge, address(node))
		if err != nil {
			return err
		}
		fmt.Fprintf(&direct, "%s %s\n", address(node), node)
		if strings.HasPrefix(node, "hex") {
			continue
		}
		fmt.Fprintf(&through, "%s %s\n", proxied(node), node)
		if err := sh("ip addr add %s/24 dev %s", proxied(node), bridge); err != nil {
			return err
		}
	}
	b.direct, b.through = filepath.Join(b.folder, "hosts"), filepath.Join(b.folder, "hosts.services")
	if err := os.WriteFile(b.direct, []byte("127.0.0.1 localhost\n"+direct.String()), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(b.through, []byte("127.0.0.1 localhost\n"+through.String()), 0o600); err != nil {
		return err
	}
	return sh("mount --bind %s /etc/hosts", b.direct)
}

// in returns the command that runs a program in a node's namespace, with its own host names.
func (b *bed) in(node, hosts string, program ...string) *exec.Cmd {
	args := append([]string{"--net=/run/netns/" + node, "unshare", "--mount", "sh", "-ec",
		`mount --bind "$0" /etc/hosts; exec "$@"`, hosts}, program...)
	return exec.Command("nsenter", args...)
}

// cut pulls a node's cable; plug puts it back.
func cut(node string) error  { return sh("ip link set v-%s down", node) }
func plug(node string) error { return sh("ip link set v-%s up", node) }

// separate keeps a node from some others, though all else still reaches it.
func separate(node string, others ...string) error {
	for _, other := range others {
		if err := sh("ip -n %s route add blackhole %s/32", node, address(other)); err != nil {
			return err
		}
	}
	return nil
}

func unite(node string, others ...string) error {
	for _, other := range others {
		if err := sh("ip -n %s route del blackhole %s/32", node, address(other)); err != nil {
			return err
		}
	}
	return nil
}

// listen opens a proxy's port on the bridge.
func listen(node, port string) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(proxied(node), port))
}
