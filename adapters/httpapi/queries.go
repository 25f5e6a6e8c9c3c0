package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
	"hexorders/ports"
)

// The endpoints that answer from the views. A view may lag behind, and the response says by how much: Age is the number
// of seconds since the view was up to date (RFC 9111, 5.1), View-Version the version of the order that the view has
// reached (without X-: RFC 6648).
const headerViewVersion = "View-Version"

func (a *api) list(c *gin.Context, query url.Values) error {
	q, err := parseSummaryQuery(query)
	if err != nil {
		return err
	}
	atLeast, err := parseEventRef(query)
	if err != nil {
		return err
	}
	page, err := a.Views.Summaries(c.Request.Context(), q, atLeast)
	if err != nil {
		return err
	}
	body := summaryPage{Orders: make([]summaryJSON, len(page.Summaries)), NextCursor: page.Next}
	for i, s := range page.Summaries {
		body.Orders[i] = toSummaryJSON(s)
	}
	if page.Next != "" {
		linkNext(c, "/orders?"+followingSummaries(q, page.Next).Encode())
	}
	freshnessHeaders(c, page.Freshness, atLeast.OrderID)
	return writeJSON(c, http.StatusOK, mediaJSON, body)
}

func (a *api) activity(c *gin.Context, query url.Values) error {
	buyer, err := pathValue(c, "buyerId")
	if err != nil {
		return errNoSuchPath
	}
	if err := order.CheckID(buyer); err != nil { // an unknown buyer has no orders yet; this one cannot have any
		return &inputError{is: errNoSuchPath, detail: "There is no buyer with this id: an " + err.Error() + "."}
	}
	atLeast, err := parseEventRef(query)
	if err != nil {
		return err
	}
	activity, freshness, err := a.Views.Activity(c.Request.Context(), buyer, atLeast)
	if err != nil {
		return err
	}
	freshnessHeaders(c, freshness, atLeast.OrderID)
	return writeJSON(c, http.StatusOK, mediaJSON, activityJSON{
		BuyerID: buyer, Pending: activity.Pending, Submitted: activity.Submitted, Paid: activity.Paid,
		Cancelled: activity.Cancelled, LastAt: timestampIfSet(activity.LastAt),
	})
}

func (a *api) timeline(c *gin.Context, query url.Values) error {
	id, err := orderID(c)
	if err != nil {
		return err
	}
	asked, err := parsePage(query)
	if err != nil {
		return err
	}
	atLeast := ports.EventRef{OrderID: id}
	if query.Has(atLeastVersion) {
		if atLeast.Version, err = versionIn(query.Get(atLeastVersion)); err != nil {
			return invalidParameter(atLeastVersion, "must be a version of the order: a whole number from 1 on")
		}
	}
	page, err := a.Views.Timeline(c.Request.Context(), id, asked, atLeast)
	if err != nil {
		return err
	}
	body := timelineJSON{OrderID: id, Entries: make([]entryJSON, len(page.Entries)), NextCursor: page.Next}
	for i, e := range page.Entries {
		body.Entries[i] = entryJSON{Version: e.Version, Type: e.Type, OccurredAt: timestamp(e.At), Text: e.Text}
	}
	if page.Next != "" {
		linkNext(c, "/orders/"+url.PathEscape(id)+"/timeline?"+followingPage(asked, page.Next).Encode())
	}
	freshnessHeaders(c, page.Freshness, id)
	return writeJSON(c, http.StatusOK, mediaJSON, body)
}

// freshnessHeaders tells how old the view is; the age is unknown until it has applied the first event.
func freshnessHeaders(c *gin.Context, f ports.Freshness, orderID string) {
	if !f.AsOf.IsZero() {
		// Below 0 if the clock of the process that fills the view runs ahead.
		c.Header("Age", strconv.Itoa(max(0, int(time.Since(f.AsOf).Seconds()))))
	}
	if orderID != "" {
		c.Header(headerViewVersion, strconv.Itoa(f.Version))
	}
}

const atLeastVersion = "atLeastVersion"

func parseSummaryQuery(query url.Values) (q ports.SummaryQuery, err error) {
	if q.Buyer = query.Get("buyerId"); q.Buyer == "" {
		return q, invalidParameter("buyerId", fmt.Sprintf("is required, with 1 to %d characters", order.MaxIDLength))
	}
	if err := order.CheckID(q.Buyer); err != nil {
		return q, invalidParameter("buyerId", err.Error())
	}
	if query.Has("status") {
		q.Status, err = oneOf(query, "status",
			order.StatusPending, order.StatusSubmitted, order.StatusPaid, order.StatusCancelled)
		if err != nil {
			return q, err
		}
	}
	if query.Has("sort") {
		q.Sort, err = oneOf(query, "sort", ports.OldestFirst, ports.NewestFirst, ports.LastChanged, ports.LargestAmount)
		if err != nil {
			return q, err
		}
	}
	q.Page, err = parsePage(query)
	return q, err
}

func followingSummaries(q ports.SummaryQuery, cursor string) url.Values {
	query := followingPage(q.Page, cursor)
	query.Set("buyerId", q.Buyer)
	if q.Status != "" {
		query.Set("status", string(q.Status))
	}
	if q.Sort != "" {
		query.Set("sort", string(q.Sort))
	}
	return query
}

func oneOf[T ~string](query url.Values, name string, values ...T) (T, error) {
	names := make([]string, len(values))
	for i, value := range values {
		if names[i] = string(value); names[i] == query.Get(name) {
			return value, nil
		}
	}
	return "", invalidParameter(name, "must be one of "+strings.Join(names, ", "))
}

// parseEventRef reads the event that the view must have applied, by its id.
func parseEventRef(query url.Values) (ports.EventRef, error) {
	if !query.Has(atLeastVersion) {
		return ports.EventRef{}, nil
	}
	id := query.Get(atLeastVersion)
	slash := max(0, strings.LastIndexByte(id, '/'))
	version, err := versionIn(strings.TrimPrefix(id[slash:], "/"))
	if err != nil || order.CheckID(id[:slash]) != nil {
		return ports.EventRef{}, invalidParameter(atLeastVersion,
			"must be the id of an event: an order's id, a slash and a version, a whole number from 1 on")
	}
	return ports.EventRef{OrderID: id[:slash], Version: version}, nil
}

// versionIn parses a version. No order reaches one of more than 9 digits.
func versionIn(s string) (int, error) {
	version, err := strconv.Atoi(s)
	if err != nil || version < 1 || version > 999_999_999 || strconv.Itoa(version) != s {
		return 0, fmt.Errorf("no version: %q", s)
	}
	return version, nil
}
