package httpapi

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"
)

var errTooManyRequests = errors.New("too many requests from this address")

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

// client is who is counted as one: an IPv4 address, or the /64 network that an IPv6 host has to itself. What a proxy
// says of its own client is not believed, so behind one all clients are one.
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

// mostClients bounds what is remembered: about 5 MB.
const mostClients = 20_000

// limiter has a token bucket for each client. A bucket that was left alone until it is full again is as good as a new
// one, so it can be forgotten. Buckets live in two generations: every so often, and when there are too many, the old
// one is dropped and the young one becomes the old one.
type limiter struct {
	rate   rate.Limit // tokens a second
	burst  int
	refill time.Duration // from empty to full

	mu         sync.Mutex
	young, old map[netip.Prefix]*rate.Limiter
	born       time.Time // of the young generation
}

func newLimiter(perSecond float64, burst int) *limiter {
	refill := time.Duration(math.Min(float64(burst)/perSecond, 24*60*60) * float64(time.Second))
	return &limiter{rate: rate.Limit(perSecond), burst: burst, refill: refill, young: map[netip.Prefix]*rate.Limiter{}}
}

// wait takes a client's token. When there is none it takes nothing, and tells how long until there is one.
func (l *limiter) wait(client netip.Prefix, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.born) > l.refill || len(l.young) >= mostClients/2 {
		l.young, l.old, l.born = map[netip.Prefix]*rate.Limiter{}, l.young, now
	}
	bucket := l.young[client]
	if bucket == nil {
		if bucket = l.old[client]; bucket == nil {
			bucket = rate.NewLimiter(l.rate, l.burst)
		}
		l.young[client] = bucket
	}
	token := bucket.ReserveN(now, 1)
	wait := token.DelayFrom(now)
	if wait > 0 {
		token.CancelAt(now)
	}
	return wait
}
