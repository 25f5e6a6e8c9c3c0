package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"hexorders/adapters/httpapi"
	"hexorders/core/order"
	"hexorders/ports"
)

// sentinels says what each exported sentinel of core/order and ports is answered with.
var sentinels = map[string]struct {
	err    error
	status int
	code   string
}{
	"order.ErrAlreadySubmitted":       {order.ErrAlreadySubmitted, 409, "order-already-submitted"},
	"order.ErrAlreadyPaid":            {order.ErrAlreadyPaid, 409, "order-already-paid"},
	"order.ErrAlreadyCancelled":       {order.ErrAlreadyCancelled, 409, "order-already-cancelled"},
	"order.ErrEmpty":                  {order.ErrEmpty, 409, "order-empty"},
	"order.ErrNoSuchItem":             {order.ErrNoSuchItem, 409, "no-such-item"},
	"order.ErrTooManyItems":           {order.ErrTooManyItems, 422, "too-many-items"},
	"order.ErrInvalidAmount":          {order.ErrInvalidAmount, 422, "invalid-amount"},
	"order.ErrInvalidID":              {order.ErrInvalidID, 422, "invalid-id"},
	"order.ErrInvalidCancelledBy":     {order.ErrInvalidCancelledBy, 422, "invalid-cancelled-by"},
	"order.ErrInvalidReason":          {order.ErrInvalidReason, 422, "invalid-reason"},
	"ports.ErrNotFound":               {ports.ErrNotFound, 404, "order-not-found"},
	"ports.ErrConflict":               {ports.ErrConflict, 409, "version-conflict"},
	"ports.ErrVersionMismatch":        {ports.ErrVersionMismatch, 412, "version-mismatch"},
	"ports.ErrBadCursor":              {ports.ErrBadCursor, 400, "bad-cursor"},
	"ports.ErrDuplicateRequest":       {ports.ErrDuplicateRequest, 409, "request-in-flight"},
	"ports.ErrKeyReused":              {ports.ErrKeyReused, 422, "idempotency-key-reused"},
	"ports.ErrIdempotencyUnsupported": {ports.ErrIdempotencyUnsupported, 501, "no-idempotency"},
	"ports.ErrNoHistory":              {ports.ErrNoHistory, 501, "no-history"},
	"ports.ErrNoSuchVersion":          {ports.ErrNoSuchVersion, 404, "version-not-found"},
	"ports.ErrHistoryDeleted":         {ports.ErrHistoryDeleted, 410, "history-deleted"},
	"ports.ErrNotBuilt":               {ports.ErrNotBuilt, 503, "view-not-built"},
	"ports.ErrOverloaded":             {ports.ErrOverloaded, 503, "overloaded"},
	"ports.ErrNoRoom":                 {fmt.Errorf("%w: %w", ports.ErrUnavailable, ports.ErrNoRoom), 503, "store-full"},
	"ports.ErrUnavailable":            {ports.ErrUnavailable, 503, "unavailable"},
}

// exempt sentinels have no row in the table, for a reason.
var exempt = map[string]string{
	"order.ErrInvalidHistory": "the stored data are damaged: our fault, 500",
	"ports.ErrFenced":         "between relays; no request meets it",
	"ports.ErrLeaseHeld":      "between relays; no request meets it",
	"ports.ErrRefused":        "between the relay and the broker; no request meets it",
}

// The sentinels are read from the source, so that a new one cannot be forgotten.
func TestEverySentinelHasAnAnswer(t *testing.T) {
	found := map[string]bool{}
	for name, dir := range map[string]string{"order": "../../core/order", "ports": "../../ports"} {
		for _, sentinel := range exportedSentinels(t, os.DirFS(dir)) {
			found[name+"."+sentinel] = true
		}
	}
	if len(found) < 10 {
		t.Fatalf("found only %d sentinels: the search is broken", len(found))
	}
	for name := range found {
		_, answered := sentinels[name]
		if _, isExempt := exempt[name]; answered == isExempt {
			t.Errorf("%s must have either a row in the table of adapters/httpapi/problem.go (and in sentinels of problem_test.go) or a "+
				"reason to have none (in exempt)", name)
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(sentinels)), slices.Collect(maps.Keys(exempt))) {
		if !found[name] {
			t.Errorf("%s is listed here and no longer exported", name)
		}
	}
}

func TestTheSearchFindsEverySentinel(t *testing.T) {
	source := "package p\n\nvar ErrOne = errors.New(\"1\")\n\nvar (\n\tErrTwo, ErrThree = f()\n\tother, errHidden = 1, 2\n)\n\nfunc f() { " +
		"var ErrLocal int }\n"
	got := exportedSentinels(t, fstest.MapFS{
		"p.go":      {Data: []byte(source)},
		"p_test.go": {Data: []byte("package p\n\nvar ErrTest = 1\n")},
	})
	if want := []string{"ErrOne", "ErrTwo", "ErrThree"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestEverySentinelIsAnsweredWithItsRow(t *testing.T) {
	for name, want := range sentinels {
		t.Run(name, func(t *testing.T) {
			// Wrapped, with a secret in it that must stay inside.
			failure := fmt.Errorf("dial mongodb://root:hunter2@db: %w", want.err)
			api := httpapi.New(httpapi.Options{Orders: &fakeOrders{err: failure}, Views: &fakeViews{err: failure},
				Logger: slog.New(slog.DiscardHandler)})
			answer := do(api, refusedWith(t, want.code), nil)
			got := readProblem(t, answer)
			if answer.Code != want.status || got.Status != want.status || got.Code != want.code {
				t.Errorf("answered %d with status %d and code %q, want %d and %q", answer.Code, got.Status, got.Code,
					want.status, want.code)
			}
			if got.Type != "/problems/"+want.code || got.Title == "" || got.Detail == "" || got.RequestID != "req-1" {
				t.Errorf("incomplete problem: %s", answer.Body)
			}
			if strings.Contains(answer.Body.String(), "hunter2") {
				t.Errorf("the inside leaks out: %s", answer.Body)
			}
			later := want.status == 503 || want.code == "request-in-flight" || want.code == "version-conflict"
			if retry := answer.Header().Get("Retry-After"); (retry != "") != later {
				t.Errorf("Retry-After %q with status %d", retry, want.status)
			}
		})
	}
}

func TestWhatIsOurFaultIsA500AndOnlyTheLogSaysWhy(t *testing.T) {
	for name, orders := range map[string]*fakeOrders{
		"an unknown error": {err: errors.New("password hunter2 was wrong")},
		"damaged data":     {err: fmt.Errorf("hunter2: %w", order.ErrInvalidHistory)},
		"a panic":          {panics: "hunter2"},
		"an error's panic": {panicsWith: errors.New("hunter2")},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			answer := do(newHandler(orders, &log), "GET /orders/order-1", nil)
			want := problem(500, "internal", "Internal error",
				"Something went wrong on our side. The request id finds it in the log.", "") + "\n"
			if answer.Code != 500 || answer.Body.String() != want {
				t.Errorf("%d %s\nwant\n%s", answer.Code, answer.Body, want)
			}
			entry := onlyEntry(t, &log)
			if entry["level"] != "ERROR" || entry["requestId"] != "req-1" || !strings.Contains(fmt.Sprint(entry["err"]), "hunter2") {
				t.Errorf("the log does not tell what happened: %v", entry)
			}
			if stack := fmt.Sprint(entry["stack"]); strings.Contains(name, "panic") != strings.Contains(stack, "fakeOrders") {
				t.Errorf("stack in the log: %s", stack)
			}
		})
	}
}

// http.ErrAbortHandler is no fault but the server's own way to say that an answer cannot be finished.
func TestAHandlerMayDropTheConnection(t *testing.T) {
	server := httptest.NewServer(newHandler(&fakeOrders{panicsWith: http.ErrAbortHandler}, nil))
	defer server.Close()
	answer, err := server.Client().Get(server.URL + "/orders/order-1")
	if err == nil {
		_ = answer.Body.Close()
		t.Errorf("got %s, want a dropped connection", answer.Status)
	}
}

func TestWorkThatTakesTooLongIsEnded(t *testing.T) {
	hangs := &fakeOrders{hangs: true}
	h := httpapi.New(httpapi.Options{Orders: hangs, Timeout: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	answer := do(h, "GET /orders/order-1", nil)
	if got := readProblem(t, answer); answer.Code != 503 || got.Code != "interrupted" || answer.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// fakeOrders answers every call in the same way, and remembers what it was asked for.
type fakeOrders struct {
	err        error
	panics     string
	panicsWith error
	hangs      bool          // until the context ends
	began      chan struct{} // closed when it hangs, unless nil
	ended      chan error    // gets why the context has ended, unless nil
	order      *order.Order
	target     ports.Target
	trace      string
	key        ports.IdempotencyKey
	called     string // the method
}

func (f *fakeOrders) answer(ctx context.Context, at ports.Target) (*order.Order, error) {
	f.target, f.trace, f.key = at, ports.TraceParent(ctx), at.Key
	caller, _, _, _ := runtime.Caller(1)
	_, f.called, _ = strings.Cut(runtime.FuncForPC(caller).Name(), ".(*fakeOrders).")
	switch {
	case f.panicsWith != nil:
		panic(f.panicsWith)
	case f.panics != "":
		panic(f.panics)
	case f.hangs:
		if f.began != nil {
			close(f.began)
		}
		<-ctx.Done()
		if f.ended != nil {
			f.ended <- ctx.Err()
		}
		return nil, ctx.Err()
	}
	return f.order, f.err
}

func (f *fakeOrders) Create(
	ctx context.Context, _ string, _ []order.Item, key ports.IdempotencyKey,
) (*order.Order, error) {
	return f.answer(ctx, ports.Target{Key: key})
}

func (f *fakeOrders) AddItem(ctx context.Context, at ports.Target, _ string, _ int) (*order.Order, error) {
	return f.answer(ctx, at)
}

func (f *fakeOrders) ChangeAmount(ctx context.Context, at ports.Target, _ string, _ int) (*order.Order, error) {
	return f.answer(ctx, at)
}

func (f *fakeOrders) RemoveItem(ctx context.Context, at ports.Target, _ string) (*order.Order, error) {
	return f.answer(ctx, at)
}

func (f *fakeOrders) Submit(ctx context.Context, at ports.Target) (*order.Order, error) {
	return f.answer(ctx, at)
}

func (f *fakeOrders) Pay(ctx context.Context, at ports.Target) (*order.Order, error) {
	return f.answer(ctx, at)
}

func (f *fakeOrders) Cancel(ctx context.Context, at ports.Target, _ order.CancelledBy, _ string) (*order.Order, error) {
	return f.answer(ctx, at)
}

func (f *fakeOrders) Get(ctx context.Context, id string) (*order.Order, error) {
	return f.answer(ctx, ports.Target{ID: id})
}

func (f *fakeOrders) At(ctx context.Context, id string, _ int) (*order.Order, error) {
	return f.answer(ctx, ports.Target{ID: id})
}

func (f *fakeOrders) Events(ctx context.Context, id string, _ ports.Page) (ports.EventPage, error) {
	_, err := f.answer(ctx, ports.Target{ID: id})
	return ports.EventPage{}, err
}

type problemBody struct {
	Type, Title, Detail, Code, RequestID string
	Status                               int
	Errors                               []struct{ Pointer string }
}

func readProblem(t *testing.T, answer *httptest.ResponseRecorder) problemBody {
	t.Helper()
	if got := answer.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	var p problemBody
	unmarshal(t, answer.Body.Bytes(), &p)
	return p
}

func unmarshal(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func onlyEntry(t *testing.T, log *bytes.Buffer) map[string]any {
	t.Helper()
	if n := bytes.Count(log.Bytes(), []byte("\n")); n != 1 {
		t.Fatalf("%d log lines, want 1:\n%s", n, log)
	}
	var entry map[string]any
	unmarshal(t, log.Bytes(), &entry)
	return entry
}

// exportedSentinels lists a package's variables that are named like errors, in the order of the source.
func exportedSentinels(t *testing.T, dir fs.FS) []string {
	t.Helper()
	files, err := fs.Glob(dir, "*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := fs.ReadFile(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range parsed.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}
