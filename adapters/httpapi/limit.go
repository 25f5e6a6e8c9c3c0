package httpapi

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

var (
	errTooManyRequests    = errors.New("too many requests from this address")
	errTooManyConnections = errors.New("too many connections")
)

// refuseCrowd refuses requests on connections beyond the bound, and ends those connections. The endpoints that watch over
// the service still answer: a supervisor must not restart it for being busy.
func (a *api) refuseCrowd(c *gin.Context) {
	if a.Crowded == nil || !a.Crowded(c.Request.Context()) {
		return
	}
	c.Header("Connection", "close")
	if !isProbe(c) {
		a.problem(c, errTooManyConnections)
	}
}

// limit refuses a client that asks too often (RFC 6585, 4). The endpoints that watch over the service are never
// refused.
func (a *api) limit(c *gin.Context) {
	if isProbe(c) {
		return
	}
	if wait := a.limiter.wait(client(c.Request.RemoteAddr), time.Now()); wait > 0 {
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		a.problem(c, errTooManyRequests)
	}
}

// client is the unit that is limited: an IPv4 address, or the /64 network that an IPv6 host has to itself. Headers of
// proxies are not trusted, so all clients behind one proxy are one client.
func client(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // no address at all: one client
	}
	address, bits := at.Addr().Unmap(), 32
	if address.Is6() {
		bits = 64
	}
	network, _ := address.WithZone("").Prefix(bits) // fails only for more bits than there are
	return network
}

// mostClients bounds the memory: about 5 MB. Beyond it the client that has been away the longest is forgotten.
const mostClients = 20_000

// limiter has a token bucket for each client. A bucket that is full again is as good as a new one and is deleted: wait
// looks for such buckets from the least recently used one on. (The library's expirable cache would do that with a
// goroutine that nothing can stop.)
type limiter struct {
	rate  rate.Limit // tokens a second
	burst int

	mu      sync.Mutex
	buckets *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

func newLimiter(perSecond float64, burst int) *limiter {
	buckets, _ := simplelru.NewLRU[netip.Prefix, *rate.Limiter](mostClients, nil) // fails only for a size below 1
	return &limiter{rate: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

// wait takes a client's token. When there is none it takes nothing and returns the time until there is one.
func (l *limiter) wait(client netip.Prefix, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deleteFull(now)
	bucket, ok := l.buckets.Get(client)
	if !ok {
		bucket = rate.NewLimiter(l.rate, l.burst)
		l.buckets.Add(client, bucket)
	}
	token := bucket.ReserveN(now, 1)
	wait := token.DelayFrom(now)
	if wait > 0 {
		token.CancelAt(now)
	}
	return wait
}

func (l *limiter) deleteFull(now time.Time) {
	for {
		_, bucket, ok := l.buckets.GetOldest()
		if !ok || bucket.TokensAt(now) < float64(l.burst) {
			return
		}
		l.buckets.RemoveOldest()
	}
}
