package ports

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Gaps: what a read model lacks because the log did not have it. Who reads the reading side for the first time may leave
// this file out: without a gap, reading goes on from a place and nothing is missing.

// Gap says that messages of a shard are missing for ever: reading could not go on from the place that was stored.
type Gap struct {
	Place  Place // where reading goes on instead
	Reason GapReason
	Detail string // what is missing, for people
}

// GapReason is one word for programs: headers and metrics show it.
type GapReason string

const (
	GapDeleted  GapReason = "messages-deleted" // the log deleted messages before they were read
	GapLost     GapReason = "messages-lost"    // the log ends before the place: it lost its newest messages, or is an older copy
	GapOtherLog GapReason = "another-topic"    // the place is one of another log, or of one of this name that was deleted
	GapHistory  GapReason = "history-deleted"  // a read model was rebuilt from a store that has deleted old messages
)

// GapReasons are all of them.
var GapReasons = []GapReason{GapDeleted, GapLost, GapOtherLog, GapHistory}

// maxClockSkew is how far the clock of the process that stored a time may run ahead. A time further in the future was
// stored before a clock was set back, and says nothing.
const maxClockSkew = 10 * time.Second

// Age is how long ago the read model was up to date, at most; it is not known when AsOf is zero or not to be believed.
func (f Freshness) Age() (age time.Duration, known bool) {
	age = time.Since(f.AsOf)
	return max(0, age), !f.AsOf.IsZero() && age > -maxClockSkew
}

// BelievedAsOf is AsOf, for people; zero when it is not to be believed.
func (f Freshness) BelievedAsOf() time.Time {
	if _, known := f.Age(); !known {
		return time.Time{}
	}
	return f.AsOf
}

// ShardRange is what a log has of a shard at a moment. The Next of a Place in it is "<offset>@<log>".
type ShardRange struct {
	Shard string
	// Log identifies the log among all that there ever were. A log that is deleted and made again is another one.
	Log        string
	First, End int64 // the offsets of the places before its first message and after its last one
}

// At is the place at an offset.
func (s ShardRange) At(offset int64) Place {
	return Place{Shard: s.Shard, Next: strconv.FormatInt(offset, 10) + "@" + s.Log}
}

// Resume is the offset from which reading leaves out nothing that is in the shard: that of its place among the stored
// ones, or First. It returns a gap if messages are missing there all the same. Error: a place that no log made.
//
// Places of an earlier version name no log. They are taken for places of this one, unless a shard has no name that the
// other has: then they are of another broker.
func (s ShardRange) Resume(stored []Place) (next int64, gap *Gap, err error) {
	found, other := false, ""
	for _, p := range stored {
		offset, log, err := p.parse()
		switch {
		case err != nil:
			return 0, nil, err
		case log == "" && (p.Shard == "") != (s.Shard == ""):
			log = "another broker"
		case log == "":
			log = s.Log
		}
		switch {
		case p.Next == "":
		case log == s.Log && p.Shard == s.Shard:
			next, found = offset, true
		case log != s.Log && offset > 0: // at 0 nothing was read
			other = log
		}
	}
	missing := func(reason GapReason, detail string, args ...any) (int64, *Gap, error) {
		return s.First, &Gap{s.At(s.First), reason, fmt.Sprintf("shard %q of %s: ", s.Shard, s.Log) + fmt.Sprintf(detail, args...)}, nil
	}
	switch {
	case other != "" && !found:
		return missing(GapOtherLog, "earlier events were read from %s. The relay publishes none a second time, so this topic lacks them "+
			"unless they were copied", other)
	case next < s.First:
		return missing(GapDeleted, "%d messages from offset %d on were deleted before they were read", s.First-next, next)
	case next > s.End:
		return missing(GapLost, "it ends at offset %d, and messages up to %d were read before: it lost some, or is an older copy", s.End, next)
	}
	return next, nil, nil
}

// parse reads a place. An empty Next is the beginning.
func (p Place) parse() (offset int64, log string, err error) {
	if p.Next == "" {
		return 0, "", nil
	}
	number, log, _ := strings.Cut(p.Next, "@")
	if offset, err = strconv.ParseInt(number, 10, 64); err != nil || offset < 0 {
		return 0, "", fmt.Errorf("the place %q of shard %q is not one of a log", p.Next, p.Shard)
	}
	return offset, log, nil
}
