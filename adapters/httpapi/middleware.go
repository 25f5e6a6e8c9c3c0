package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"hexorders/ports"
)

const headerRequestID = "X-Request-Id"

// A request id that a client sends is worth keeping only while it is short and cannot make a mess of a log.
var saneRequestID = regexp.MustCompile(`^[!-~]{1,128}$`)

// identify gives every request an id, the client's own if it has one, and takes over its trace.
func (a *api) identify(c *gin.Context) {
	id := c.GetHeader(headerRequestID)
	if !saneRequestID.MatchString(id) {
		id = uuid.Must(uuid.NewV7()).String() // fails only without a source of randomness
	}
	c.Header(headerRequestID, id)
	c.Request.Pattern = c.FullPath() // for those who stand before this handler
	if parent := traceParent(c.Request.Header.Values("Traceparent")); parent != "" {
		c.Request = c.Request.WithContext(ports.WithTraceParent(c.Request.Context(), parent))
	}
	c.Next()
}

func requestID(c *gin.Context) string { return c.Writer.Header().Get(headerRequestID) }

var traceParentForm = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)

// traceParent is the header's value when it is well-formed, else "": a broken one must not travel on to every
// consumer. A later version of the format is read as version 00, its first four fields (W3C Trace Context, 3.2.2 and
// 3.2.3).
func traceParent(header []string) string {
	if len(header) != 1 {
		return ""
	}
	field := traceParentForm.FindStringSubmatch(header[0])
	switch {
	case field == nil, field[1] == "ff", field[1] == "00" && field[5] != "",
		strings.Trim(field[2], "0") == "", strings.Trim(field[3], "0") == "":
		return ""
	}
	return strings.Join([]string{"00", field[2], field[3], field[4]}, "-")
}

// Keys under which a request's problem waits for the access log.
const (
	keyCode  = "code"
	keyErr   = "err"
	keyStack = "stack"
)

func (a *api) note(c *gin.Context, code string, err error) {
	c.Set(keyCode, code)
	c.Set(keyErr, err)
	if a.Shed != nil && (errors.Is(err, ports.ErrOverloaded) || errors.Is(err, errTooManyConnections)) {
		a.Shed(code)
	}
}

// log writes one line a request, errors included. Probes and scrapes are many and say little: they are for debugging.
func (a *api) log(c *gin.Context) {
	start := time.Now()
	client := c.Request.Context()
	defer func() {
		status, took := c.Writer.Status(), time.Since(start)
		a.observed(c, took)
		attributes := []slog.Attr{
			slog.String("requestId", requestID(c)),
			slog.String("method", c.Request.Method),
			slog.String("path", c.Request.URL.EscapedPath()),
			slog.Int("status", status),
			slog.Float64("ms", float64(took.Microseconds())/1000), // JSON would show a duration as a bare number
			slog.Int("bytes", max(c.Writer.Size(), 0)),
			slog.String("client", c.Request.RemoteAddr),
			slog.String("userAgent", truncated(c.Request.UserAgent())),
		}
		if id := c.Param("id"); id != "" {
			attributes = append(attributes, slog.String("order", id))
		}
		if code := c.GetString(keyCode); code != "" {
			attributes = append(attributes, slog.String("code", code))
		}
		if err, _ := c.Value(keyErr).(error); err != nil && status >= 500 {
			attributes = append(attributes, slog.Any("err", err))
		}
		if stack := c.GetString(keyStack); stack != "" {
			attributes = append(attributes, slog.String("stack", stack))
		}
		level := slog.LevelInfo
		switch {
		case client.Err() != nil: // the client went away, and the failure is not ours
		case status == http.StatusServiceUnavailable:
			level = slog.LevelWarn
		case status >= 500:
			level = slog.LevelError
		case isProbe(c):
			level = slog.LevelDebug
		}
		a.Logger.LogAttrs(context.WithoutCancel(client), level, "request", attributes...)
	}()
	c.Next()
}

// truncated keeps a line of the log short: a client may send a header of 32 KiB.
func truncated(text string) string {
	const most = 256
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// isProbe tells probes, scrapes and the console from the requests of clients.
func isProbe(c *gin.Context) bool {
	return slices.Contains([]string{"/livez", "/readyz", metricsPath}, c.FullPath()) || isConsole(c)
}

// securityHeaders forbids sniffing, framing, scripts and caching. A handler whose response needs less strict ones sets
// them itself.
func securityHeaders(c *gin.Context) {
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	c.Header("Cache-Control", "no-store")
}

// rescue turns a panic into a problem; the stack goes to the log and nowhere else.
func (a *api) rescue(c *gin.Context) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(cause) // the server's own way to drop a connection
		}
		c.Set(keyStack, string(debug.Stack()))
		a.problem(c, fmt.Errorf("panic: %v", cause)) // nothing was sent yet: every handler answers last
	}()
	c.Next()
}

// bound ends work that takes too long, so that a hanging store does not pile up requests.
func (a *api) bound(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), a.Timeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}
