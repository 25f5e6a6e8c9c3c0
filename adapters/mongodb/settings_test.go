package mongodb

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// What the guarantees rest on, the URI cannot take away: a saved order is on a majority of the members, on disk, and what is
// read is what the primary has.
func TestNoOptionOfTheURIWeakensAGuarantee(t *testing.T) {
	weak := []string{
		"w=0", "w=1", "journal=false", "wTimeoutMS=1", "readConcernLevel=local", "readPreference=secondaryPreferred",
		"readPreference=secondary&maxStalenessSeconds=90", "retryWrites=false", "retryReads=false", "timeoutMS=700",
	}
	for _, option := range append(weak, strings.Join(weak[1:5], "&")) {
		s, err := settings("mongodb://localhost/?" + option)
		if err != nil {
			t.Errorf("%s: %v", option, err)
			continue
		}
		w := s.WriteConcern
		if w == nil || w.W != "majority" || w.Journal != nil || s.ReadConcern == nil || s.ReadConcern.Level != "majority" ||
			s.ReadPreference.Mode() != readpref.PrimaryMode || !*s.RetryWrites || !*s.RetryReads || s.Timeout != nil {
			t.Errorf("%s: write concern %+v, read concern %+v, read preference %v, retries %v %v, timeout %v", option, w,
				s.ReadConcern, s.ReadPreference, *s.RetryWrites, *s.RetryReads, s.Timeout)
		}
	}
}
