package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// demo is a small supervisor: it starts the service as a process of its own, and starts it again when it was killed. The
// service stops when its standard input ends, so it never outlives the supervisor. The supervisor holds the port: while the
// service is away, clients wait.
type demo struct {
	folder  string
	orders  float64 // a second
	service bool    // this is the process of the service

	url         string
	out, errOut io.Writer
}

func demoCommand() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start everything in a folder of its own, to look at and to break",
		Long: `Starts the service with every role and the console, over the embedded store in a folder of its own, and prints where to
look. It listens on the loopback only, on port 8080 or, if that is taken, on a free one. A service that was killed is started
again. Settings in the environment do not count, but for HEXORDERS_LOG_LEVEL and HEXORDERS_LOG_FORMAT. It
does not run on Windows itself, but in WSL there.`,
		Example: "  hexorders demo\n  hexorders demo --orders 5\n  hexorders demo --folder /tmp/orders",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.service {
				return serveUntilInputEnds(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
			}
			if d.orders < 0 || d.orders > mostOrders {
				return usagef("--orders is the number of orders a second: give one from 0 to %d", mostOrders)
			}
			d.out, d.errOut = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.folder, "folder", "", "keep everything in this folder; without it in a temporary one, which is deleted at the end")
	cmd.Flags().Float64Var(&d.orders, "orders", 0, "place this many orders a second")
	cmd.Flags().BoolVar(&d.service, "service", false, "be the service that the demo watches over")
	_ = cmd.Flags().MarkHidden("service") // it fails only for a flag that does not exist
	return cmd
}

const (
	mostOrders   = 100             // a second
	mostAtATime  = 32              // of them; while the service is away they wait, and new ones are left out
	inherited    = 3               // the number of the first of exec.Cmd.ExtraFiles
	restartAfter = time.Second / 2 // so that it can be seen that the service is away
)

func serveUntilInputEnds(ctx context.Context, input io.Reader, logTo io.Writer) error {
	listener, err := net.FileListener(os.NewFile(inherited, "listener"))
	if err != nil {
		return usagef("--service is for the supervisor of a demo: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // it ends with the process
		_, _ = io.Copy(io.Discard, input) // that it ends counts, not how
		cancel()
	}()
	return serve(ctx, knownRoles, logTo, &demoService{listener: listener})
}

func (d *demo) run(ctx context.Context) (err error) {
	if runtime.GOOS == "windows" {
		return errors.New("the demo does not run on Windows, where a process cannot hand over its port: start it in WSL")
	}
	ctx, ended := untilSignal(ctx, newLogger(d.errOut, &Config{}))
	defer ended()
	where := "Everything is in " + absolute(d.folder) + " and stays there."
	if d.folder == "" {
		if d.folder, err = os.MkdirTemp("", "hexorders-demo-"); err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { _ = os.RemoveAll(d.folder) }() // what stays is in a folder for temporary things
		where = "Everything is in " + d.folder + " and is deleted at the end (--folder keeps it)."
	} else if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return fmt.Errorf("make the folder of the demo: %w", err)
	}
	listener, err := demoListener(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the process ends
	d.url = "http://" + listener.Addr().String()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return d.supervise(ctx, listener) })
	work.Go(func() error {
		if d.ready(ctx) {
			d.print(where)
			d.placeOrders(ctx)
		}
		return nil
	})
	return work.Wait()
}

// demoListener is on the loopback: the demo may be broken by everybody who reaches it.
func demoListener(ctx context.Context) (listener net.Listener, err error) {
	for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:0"} {
		if listener, err = listen(ctx, address); err == nil {
			return listener, nil
		}
	}
	return nil, err
}

// supervise starts the service again and again until ctx ends. A service that ends with an error would do so again.
func (d *demo) supervise(ctx context.Context, listener net.Listener) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	port, err := listener.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("hand over the port: %w", err)
	}
	defer func() { _ = port.Close() }() // the process ends
	for {
		service := exec.CommandContext(ctx, program, "demo", "--service")
		service.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, prefix+"_") })
		service.Env = append(service.Env, "HEXORDERS_HTTP_ADDR="+listener.Addr().String(),
			"HEXORDERS_SQLITE_PATH="+filepath.Join(d.folder, "hexorders.db"),
			"HEXORDERS_LOG_LEVEL="+cmp.Or(os.Getenv("HEXORDERS_LOG_LEVEL"), "error"),
			"HEXORDERS_LOG_FORMAT="+cmp.Or(os.Getenv("HEXORDERS_LOG_FORMAT"), "auto"))
		service.Stderr, service.ExtraFiles = d.errOut, []*os.File{port}
		input, err := service.StdinPipe()
		if err != nil {
			return fmt.Errorf("start the service: %w", err)
		}
		service.Cancel, service.WaitDelay = input.Close, stopWithin
		err = service.Run()
		if ctx.Err() != nil {
			return nil
		}
		if ended := new(exec.ExitError); err != nil && (!errors.As(err, &ended) || ended.ExitCode() > 0) {
			return fmt.Errorf("the service of the demo: %w", err)
		}
		d.say("The service has ended; it starts again.")
		if pause(ctx, restartAfter) != nil {
			return nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ready waits for the service. It is false when ctx has ended.
func (d *demo) ready(ctx context.Context) bool {
	for pause(ctx, 20*time.Millisecond) == nil {
		if request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/readyz", http.NoBody); err == nil {
			if response, err := http.DefaultClient.Do(request); err == nil {
				_ = response.Body.Close()
				if response.StatusCode == http.StatusOK {
					return true
				}
			}
		}
	}
	return false
}

func (d *demo) say(text string) { _, _ = fmt.Fprintln(d.out, text) }

func (d *demo) print(where string) {
	d.say(strings.NewReplacer("URL", d.url, "FOLDER", where).Replace(`The console:  URL/console/
Break it:     URL/console/demo/break.html
A shop:       URL/console/demo/shop.html

Try, in another terminal:
  curl URL/orders -H 'content-type: application/json' -d '{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}'
  curl URL/orders
  curl URL/products/1111/sales

FOLDER
Ctrl-C stops it.`))
}

// placeOrders places orders until ctx ends: it creates each, submits it and pays it.
func (d *demo) placeOrders(ctx context.Context) {
	if d.orders == 0 {
		return
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / d.orders))
	defer tick.Stop()
	var work errgroup.Group
	defer func() { _ = work.Wait() }() // they return no error
	work.SetLimit(mostAtATime)
	for n := 0; ; n++ {
		select {
		case <-tick.C:
			work.TryGo(func() error {
				d.placeOrder(ctx, n)
				return nil
			})
		case <-ctx.Done():
			return
		}
	}
}

func (d *demo) placeOrder(ctx context.Context, n int) {
	buyers, products := []string{"ada", "grace", "somchai", "malee"}, []string{"1111", "2222", "3333"}
	body := fmt.Sprintf(`{"buyerId":%q,"items":[{"productId":%q,"amount":%d}]}`,
		buyers[n%len(buyers)], products[n%len(products)], 1+n%5)
	id, err := d.command(ctx, "/orders", body)
	for _, command := range []string{"/submit", "/pay"} {
		if err == nil {
			_, err = d.command(ctx, "/orders/"+id+command, "")
		}
	}
	if err != nil && ctx.Err() == nil {
		d.say("An order failed: " + err.Error())
	}
}

// command sends a command until it gets a response. The idempotency key makes that safe: the service may have been killed
// after it had carried the command out.
func (d *demo) command(ctx context.Context, path, body string) (id string, err error) {
	key := uuid.NewString()
	return backoff.Retry(ctx, func() (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+path, strings.NewReader(body))
		if err != nil {
			return "", backoff.Permanent(err)
		}
		request.Header.Set("Idempotency-Key", key)
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode >= http.StatusMultipleChoices {
			err := fmt.Errorf("%s: %s", path, response.Status)
			if response.StatusCode < http.StatusInternalServerError {
				return "", backoff.Permanent(err)
			}
			return "", err
		}
		var order struct {
			ID string `json:"id"`
		}
		return order.ID, json.NewDecoder(response.Body).Decode(&order)
	}, backoff.WithMaxElapsedTime(0))
}
