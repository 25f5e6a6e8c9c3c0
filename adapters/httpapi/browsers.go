package httpapi

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
)

// A browser runs the pages of strangers in the user's own network, so it is the way by which strangers reach a service that
// only listens there. A page may send a command to any address without asking (POST without a body needs no leave of CORS),
// and a page whose host name is changed to this address (DNS rebinding) may read what it gets.

var (
	errCrossOrigin = errors.New("a page of another origin sends a command")
	errUnknownHost = errors.New("the request is for another host")
)

// crossOriginHeaders let pages of the configured origins call the API and read what it answers (Fetch, "CORS protocol").
// Cookies play no part in it.
func (a *api) crossOriginHeaders() gin.HandlerFunc {
	allow := cors.New(cors.Config{
		AllowOrigins: a.CORSOrigins,
		AllowMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowHeaders: []string{"Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", headerRequestID, "Traceparent",
			"Tracestate"},
		ExposeHeaders: []string{"Content-Location", "ETag", "Link", "Location", "Retry-After", headerRequestID,
			headerViewAge, headerViewIncomplete, headerViewVersion},
		MaxAge: time.Hour,
	})
	return func(c *gin.Context) {
		if slices.Contains(a.CORSOrigins, "*") || slices.Contains(a.CORSOrigins, c.GetHeader("Origin")) {
			allow(c)
			return
		}
		// Without the headers a browser keeps the response from the page; other clients do not need them. The library
		// would refuse the request.
		c.Header("Vary", "Origin")
	}
}

// refuseCrossOrigin refuses commands of pages of other origins than the configured ones. Without it a page could pay and
// cancel orders whose ids it knows, though it could not read the answers. Other clients than browsers send no Origin and no
// Sec-Fetch-Site and are not concerned.
func (a *api) refuseCrossOrigin() gin.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	for _, origin := range a.CORSOrigins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			panic(err) // Options say what an origin looks like
		}
	}
	return func(c *gin.Context) {
		if protection.Check(c.Request) != nil {
			a.problem(c, errCrossOrigin)
		}
	}
}

// refuseUnknownHost refuses requests for host names that are not configured (RFC 9110, 7.4). Addresses cannot be rebound,
// localhost always is this machine, and a client without a Host is no browser.
func (a *api) refuseUnknownHost(c *gin.Context) {
	name := c.Request.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	if name == "" || err == nil || name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(a.Hosts, name) {
		return
	}
	a.problem(c, errUnknownHost)
}
