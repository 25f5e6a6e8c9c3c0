// Package browser watches Chromium use the built program: the console, the page /docs, and pages of strangers. What a page
// of the console shows is compared with what the API says, and each is held to three rules: nothing goes wrong in it, it
// asks nobody but the service, and what can be used has a name for those who do not see it.
//
// main_test.go has the browser, page_test.go a page in it, service_test.go the program. The browser is that of
// scripts/chromium. MongoDB and Kafka are those of HEXORDERS_TEST_MONGODB_URI and HEXORDERS_TEST_KAFKA_BROKERS.
package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// program is the built binary, browser Chromium.
var program, browser string

var screenshots = flag.Bool("screenshots", false, "write docs/console/*.png")

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	_ = flag.Set("test.parallel", "6") // it exists; what these tests wait for is seldom a processor
	dir, err := os.MkdirTemp("", "hexorders-browser-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	chromium := exec.Command(filepath.Join(repository, "scripts", "chromium"))
	chromium.Stderr = os.Stderr
	path, err := chromium.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "there is no browser:", err)
		return 1
	}
	browser = strings.TrimSpace(string(path))
	program = filepath.Join(dir, "hexorders")
	build := exec.Command("go", "build", "-o", program, "./cmd/hexorders")
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=1") // the Kafka client needs it
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, output)
		return 1
	}
	return m.Run()
}

// repository is the checkout: tests run in the folder of their package.
var repository = func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
}()

// patience is how long a test waits for what has no time promised: long, because a machine may be busy with other things,
// and what is broken stays broken.
const patience = 2 * time.Minute

// eventually polls until a condition holds, and fails the test when it does not in time.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// open starts a browser for which rebound.example is this machine, and no other name exists.
func open(t testing.TB) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 900), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en"),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", browser, err)
	}
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
	eventually(t, expression, func() bool { return evaluate(ctx, t, "Boolean("+expression+")") == "true" })
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
