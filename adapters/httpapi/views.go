package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

// The endpoints that answer from the read model. Each view has a file of its own with its route and its handler:
// orders_list.go, buyer_activity.go, timeline.go. This file has what they share.

// viewEndpoint is a row of the table of these endpoints. All of them are read with GET or HEAD.
type viewEndpoint struct {
	pattern    string
	handle     func(a *api, c *gin.Context, query url.Values) error
	parameters []string
}

var viewEndpoints []viewEndpoint // complete before main begins, then only read

// serveView adds a row to the table. The file of a view calls it from its init, so that adding a view touches no other
// file. Every view takes the parameter atLeastVersion.
func serveView(pattern string, handle func(a *api, c *gin.Context, query url.Values) error, parameters ...string) {
	viewEndpoints = append(viewEndpoints, viewEndpoint{pattern, handle, append(parameters, atLeastVersion)})
}

// bodies are the rows as clients read them: the view has encoded them already.
func bodies(rows []ports.Row) []json.RawMessage {
	list := make([]json.RawMessage, len(rows)) // never nil: an empty list has [], not null
	for i, row := range rows {
		list[i] = row.Body
	}
	return list
}

// The read model may be behind, and the response says by how much: View-Age is the number of seconds since it was up to
// date, View-Version the version of the order that it has reached (without X-: RFC 6648). Age is for caches (RFC 9111, 5.1).
// View-Incomplete is there only if events are missing for ever, and says why.
const (
	headerViewAge        = "View-Age"
	headerViewIncomplete = "View-Incomplete"
	headerViewVersion    = "View-Version"
)

// freshnessHeaders says how old the answer is. The age is unknown until the first event was applied.
func freshnessHeaders(c *gin.Context, f ports.Freshness, orderID string) {
	if age, known := f.Age(); known {
		c.Header(headerViewAge, strconv.Itoa(int(age.Seconds())))
	}
	if f.Incomplete != "" {
		c.Header(headerViewIncomplete, string(f.Incomplete))
	}
	if orderID != "" {
		c.Header(headerViewVersion, strconv.Itoa(f.Version))
	}
}

const atLeastVersion = "atLeastVersion"

// requiredVersion reads the required version of a known order, 0 for none.
func requiredVersion(query url.Values) (int, error) {
	if !query.Has(atLeastVersion) {
		return 0, nil
	}
	version, err := versionIn(query.Get(atLeastVersion))
	if err != nil {
		return 0, invalidParameter(atLeastVersion, "must be a version of the order: a whole number from 1 on")
	}
	return version, nil
}

// requiredEvent reads the required version of any order: the parameter is then the id of an event.
func requiredEvent(query url.Values) (ports.EventRef, error) {
	if !query.Has(atLeastVersion) {
		return ports.EventRef{}, nil
	}
	id := query.Get(atLeastVersion)
	part := eventID.FindStringSubmatch(id)
	if part == nil || !utf8.ValidString(id) {
		return ports.EventRef{}, invalidParameter(atLeastVersion,
			"must be the id of an event: an order's id, a slash and a version, a whole number from 1 on")
	}
	version, err := versionIn(part[2])
	return ports.EventRef{OrderID: part[1], Version: version}, err
}

// eventID takes what the description says, and so the ids of orders that are older than a rule for ids.
var eventID = regexp.MustCompile(`^([^\x00-\x1f\x7f-\x9f]{1,64})/([1-9][0-9]{0,8})$`)

// versionIn parses a version. No order reaches one of more than 9 digits.
func versionIn(s string) (int, error) {
	version, err := strconv.Atoi(s)
	if err != nil || version < 1 || version > 999_999_999 || strconv.Itoa(version) != s {
		return 0, fmt.Errorf("no version: %q", s)
	}
	return version, nil
}
