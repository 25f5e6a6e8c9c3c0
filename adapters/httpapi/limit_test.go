package httpapi

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestAClientIsAnAddressOrItsNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234":           "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1234":  "192.0.2.7/32",
		"[2001:db8::1:2:3:4]:1234": "2001:db8::/64",
		"[2001:db8::9]:1":          "2001:db8::/64",
		"[fe80::1%eth0]:1234":      "fe80::/64",
		"@":                        "invalid Prefix", // a Unix socket
		"":                         "invalid Prefix",
	} {
		if got := client(remote).String(); got != want {
			t.Errorf("%s: got %s, want %s", remote, got, want)
		}
	}
}

// What is remembered is bounded, and what is forgotten with time is no advantage to anyone.
func TestTheLimiterForgetsOnlyWhoHasWaitedLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, 10)
		one := netip.MustParsePrefix("192.0.2.1/32")
		taken := 0
		for range 60 { // a minute: ten at once, then one a second
			for range 5 {
				if l.wait(one, time.Now()) == 0 {
					taken++
				}
			}
			time.Sleep(time.Second)
		}
		if taken != 10+59 {
			t.Errorf("%d requests were let through in a minute, want %d", taken, 10+59)
		}
		other := netip.MustParsePrefix("192.0.2.2/32")
		for range 5 { // half the time that a new bucket is worth
			time.Sleep(time.Second)
			l.wait(other, time.Now())
		}
		taken = 0
		for range 10 {
			if l.wait(one, time.Now()) == 0 {
				taken++
			}
		}
		if taken != 6 { // one was there before
			t.Errorf("%d requests were let through after 6 seconds, want 6", taken)
		}
		for range 3 {
			time.Sleep(20 * time.Second) // twice the time from empty to full
			l.wait(other, time.Now())
		}
		if l.buckets.Contains(one) {
			t.Error("a client that was long gone is still remembered")
		}
	})
}

func TestTheLimiterIsBounded(t *testing.T) {
	l := newLimiter(1, 10)
	now := time.Now()
	for n := range 3 * mostClients {
		l.wait(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32), now)
		if kept := l.buckets.Len(); kept > mostClients {
			t.Fatalf("%d clients are remembered, want at most %d", kept, mostClients)
		}
	}
	if kept := l.buckets.Len(); kept < mostClients {
		t.Errorf("%d clients are remembered, want the last %d", kept, mostClients)
	}
}
