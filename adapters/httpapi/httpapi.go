// Package httpapi is the driving adapter for HTTP. A request becomes one call of ports.Orders or ports.Views, its result
// becomes JSON, an error becomes a problem. Read httpapi.go for the routes, orders.go for commands and orders, views.go and
// the file of a view for what the read model answers, body.go and query.go for the input, problem.go for the errors.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

// Options are what the API needs of the program around it.
type Options struct {
	Orders  ports.Orders                // nil: only the health endpoints are served
	Views   ports.Views                 // the read model: lists, activity, timelines; nil: those are not served
	Ready   func(context.Context) error // asked by /readyz; nil: always ready
	Logger  *slog.Logger                // nil: slog.Default()
	MaxBody int64                       // the longest body that is read, in bytes; 0: 64 KiB
	Timeout time.Duration               // how long the work on one request may take; 0: 10 s
	Metrics http.Handler                // served at /metrics; nil: nothing is
	Console http.Handler                // served at and below /console, without the time limit; nil: nothing is
	// Observe is asked once for each route when the API is made; what it returns is called after each request of that
	// route. A request that fits no route or has a wrong method counts as the route "other" with the method "other".
	// nil: nothing is observed.
	Observe func(method, route string) func(status int, took time.Duration)
	// Crowded reports whether a request came on a connection beyond the bound of the server; nil: none does.
	Crowded func(context.Context) bool
	Shed    func(code string) // called for each request that is refused for overload; nil: not counted

	RequireIfMatch bool     // commands on an order must say which version they are for; without If-Match they get 428
	CORSOrigins    []string // whose pages may call the API from a browser: scheme://host[:port], or "*"; none: no pages may
	Hosts          []string // the host names that requests may be for, beside localhost and addresses; nil: all
	Rate           float64  // requests a second that one client may send; 0: as many as it likes
	Burst          int      // how many of them may come at once; 0: 1
}

// readyTimeout is shorter than a probe's own timeout, so that a hanging store gets the probe a response.
const readyTimeout = 2 * time.Second

type api struct {
	Options
	observers map[route]func(status int, took time.Duration) // complete before the first request, then only read
	limiter   *limiter
}

// route is a method and a pattern; the zero value is for what fits none.
type route struct{ method, pattern string }

// New is the API as a handler. How long a client may take to send and to read is the server's business.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 64 << 10
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	a := &api{Options: o}

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.RedirectTrailingSlash = false
	// Ids arrive escaped, so that one may hold a slash; pathValue unescapes them. Gin would do it by the rules of a
	// query, where a plus is a space.
	router.UseEscapedPath, router.UnescapePathValues = true, false

	defer a.observe(router) // once it has every route

	router.Use(a.identify, a.log, a.rescue, securityHeaders, a.refuseCrowd)
	if o.Hosts != nil {
		router.Use(a.refuseUnknownHost)
	}
	if len(o.CORSOrigins) > 0 {
		router.Use(a.crossOriginHeaders())
	}
	if !slices.Contains(o.CORSOrigins, "*") {
		router.Use(a.refuseCrossOrigin())
	}
	if o.Rate > 0 {
		a.limiter = newLimiter(o.Rate, max(o.Burst, 1))
		router.Use(a.limit)
	}
	a.serveConsole(router)
	router.Use(a.bound)
	router.NoRoute(a.respond(func(*gin.Context) error { return errNoSuchPath }))
	router.NoMethod(a.respond(otherMethod))

	read := []string{http.MethodGet, http.MethodHead}
	router.Match(read, "/", a.answer(a.showStart))
	router.Match(read, "/livez", a.answer(a.live))
	router.Match(read, "/readyz", a.answer(a.ready))
	if o.Metrics != nil {
		router.Match(read, metricsPath, gin.WrapH(o.Metrics))
	}
	router.Match(read, "/problems", a.answer(a.listProblems))
	router.Match(read, typePrefix+":code", a.answer(a.showProblem))
	if o.Orders == nil {
		return router
	}
	router.Match(read, "/openapi.yaml", a.answer(a.describe))
	router.Match(read, "/docs", a.answer(a.showDescription))
	router.Match(read, "/docs/", a.answer(a.redirectToDescription))
	router.Match(read, "/docs/:file", a.answer(a.showDescriptionPart))
	router.POST("/orders", a.answer(a.create))
	router.Match(read, "/orders/:id", a.query(a.get, "version"))
	router.Match(read, "/orders/:id/events", a.query(a.events, "limit", "cursor"))
	if o.Views != nil {
		for _, view := range viewEndpoints {
			handle := func(c *gin.Context, query url.Values) error { return view.handle(a, c, query) }
			router.Match(read, view.pattern, a.query(handle, view.parameters...))
		}
	}
	router.POST("/orders/:id/items", a.answer(a.addItem))
	router.PUT("/orders/:id/items/:productId", a.answer(a.changeAmount))
	router.DELETE("/orders/:id/items/:productId", a.answer(a.removeItem))
	router.POST("/orders/:id/submit", a.answer(a.submit))
	router.POST("/orders/:id/pay", a.answer(a.pay))
	router.POST("/orders/:id/cancel", a.answer(a.cancel))
	return router
}

const metricsPath = "/metrics"

func (a *api) observe(router *gin.Engine) {
	if a.Observe == nil {
		return
	}
	a.observers = map[route]func(int, time.Duration){{}: a.Observe("other", "other")}
	for _, r := range router.Routes() {
		a.observers[route{r.Method, r.Path}] = a.Observe(r.Method, r.Path)
	}
}

// observed reports a request that has been answered to Observe.
func (a *api) observed(c *gin.Context, took time.Duration) {
	if a.Observe == nil || isConsole(c) {
		return
	}
	observer, known := a.observers[route{c.Request.Method, c.FullPath()}]
	if !known {
		observer = a.observers[route{}]
	}
	observer(c.Writer.Status(), took)
}

// answer is query for an endpoint whose query has no parameters.
func (a *api) answer(handle func(*gin.Context) error) gin.HandlerFunc {
	return a.query(func(c *gin.Context, _ url.Values) error { return handle(c) })
}

// query is respond for an endpoint whose query may have these parameters and no others, each at most once.
func (a *api) query(handle func(*gin.Context, url.Values) error, parameters ...string) gin.HandlerFunc {
	return a.respond(func(c *gin.Context) error {
		query, err := parseQuery(c.Request.URL.RawQuery, parameters)
		if err != nil {
			return err
		}
		return handle(c, query)
	})
}

// respond makes a handler of a function that either has answered or returns why not.
func (a *api) respond(handle func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := handle(c); err != nil {
			a.problem(c, err)
		}
	}
}

// otherMethod answers for a method that the path does not have. Gin has written those that it has into Allow. OPTIONS asks
// for them (RFC 9110, 9.3.7).
func otherMethod(c *gin.Context) error {
	c.Header("Allow", c.Writer.Header().Get("Allow")+", "+http.MethodOptions)
	if c.Request.Method != http.MethodOptions {
		return errMethodNotAllowed
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (a *api) live(c *gin.Context) error {
	return writeJSON(c, http.StatusOK, mediaJSON, health{Status: "ok"})
}

func (a *api) ready(c *gin.Context) error {
	if a.Ready != nil {
		ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
		defer cancel()
		if err := a.Ready(ctx); err != nil {
			// Only the text of the cause, for the log: every cause gets this response.
			return fmt.Errorf("%w: %s", errNotReady, err.Error())
		}
	}
	return writeJSON(c, http.StatusOK, mediaJSON, health{Status: "ready"})
}

type health struct {
	Status string `json:"status"`
}

var (
	errNoSuchPath       = errors.New("no such path")
	errMethodNotAllowed = errors.New("method not allowed")
	errNotReady         = errors.New("not ready")
)
