//go:build chromium

// Package browser watches Chromium use the service: its page /docs, and pages of strangers. It needs Chromium (Debian:
// apt-get install chromium); CHROMIUM names the program if it is called otherwise.
package browser

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// program is the built binary.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hexorders-browser-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "hexorders")
	build := exec.Command("go", "build", "-o", program, "./cmd/hexorders")
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, output)
		return 1
	}
	return m.Run()
}

var listens = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)

// start serves over the memory store and returns the address.
func start(t *testing.T, settings ...string) (address string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	service := exec.Command(program, "serve")
	service.Env = append(append(os.Environ(), "HEXORDERS_STORE=memory", "HEXORDERS_BROKER=inproc", "HEXORDERS_HTTP_ADDR=127.0.0.1:0",
		"HEXORDERS_LOG_FORMAT=json"), settings...)
	service.Stderr = log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Kill()
		_ = service.Wait() // it was killed
		_ = log.Close()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("what the service said:\n%s", said)
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		said, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := listens.FindSubmatch(said); found != nil {
			return string(found[1])
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the service does not listen after 30 s")
	return ""
}

// open starts a browser for which rebound.example is this machine, and no other name exists.
func open(t *testing.T) context.Context {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); path == "" && err == nil {
			path = found
		}
	}
	if path == "" {
		t.Fatal("Chromium is missing: install it (Debian: apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// visit opens a page and waits until it is loaded.
func visit(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
}

// evaluate is the value of an expression in the page, as text.
func evaluate(ctx context.Context, t *testing.T, expression string) string {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")", chromedp.EvalAwaitPromise))
	if err != nil {
		shoot(ctx, t, "failed")
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// waitFor waits until an expression in the page is true.
func waitFor(ctx context.Context, t *testing.T, expression string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for evaluate(ctx, t, "Boolean("+expression+")") != "true" {
		if time.Now().After(deadline) {
			shoot(ctx, t, "failed")
			t.Fatalf("not true after 30 s: %s", expression)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// shoot keeps a picture of the page in the folder SCREENSHOTS, if there is one.
func shoot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Log(err)
		return
	}
	if err := os.WriteFile(filepath.Join(folder, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".png"), picture, 0o644); err != nil {
		t.Error(err)
	}
}

// send is a request of a client that is no browser.
func send(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var text strings.Builder
	if err := response.Write(&text); err != nil {
		t.Fatal(err)
	}
	_, answer, _ = strings.Cut(text.String(), "\r\n\r\n")
	return response.StatusCode, answer
}
