package httpapi

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
	"hexorders/ports"
)

// problemKind is one row of the table that turns errors into answers (RFC 9457).
type problemKind struct {
	is         error // matched with errors.Is, the first row that fits
	status     int
	code       string // for programs; part of the type too, and never changed
	title      string // the same for every problem of this kind
	detail     string // what to know or to do; an error with a detail that was made for clients has its own
	retryAfter int    // seconds, for Retry-After; 0: none
}

// problems is the whole table. The text of an error is shown only if it was made for clients, so that nothing internal
// leaks out.
var problems = []problemKind{
	{is: order.ErrAlreadySubmitted, status: 409, code: "order-already-submitted", title: "Order already submitted",
		detail: "A submitted order can be paid or cancelled; its items are final."},
	{is: order.ErrAlreadyPaid, status: 409, code: "order-already-paid", title: "Order already paid",
		detail: "A paid order can no longer change."},
	{is: order.ErrAlreadyCancelled, status: 409, code: "order-already-cancelled", title: "Order already cancelled",
		detail: "A cancelled order can no longer change."},
	{is: order.ErrEmpty, status: 409, code: "order-empty", title: "Order has no items",
		detail: "Add an item first: an order without items can be neither submitted nor paid."},
	{is: order.ErrNoSuchItem, status: 409, code: "no-such-item", title: "Order has no such item",
		detail: "The order has no item of this product."},
	{is: order.ErrTooManyItems, status: 422, code: "too-many-items", title: "Too many items"},
	{is: order.ErrInvalidAmount, status: 422, code: "invalid-amount", title: "Invalid amount"},
	{is: order.ErrInvalidID, status: 422, code: "invalid-id", title: "Invalid id"},
	{is: order.ErrInvalidCancelledBy, status: 422, code: "invalid-cancelled-by", title: "Invalid canceller"},
	{is: order.ErrInvalidReason, status: 422, code: "invalid-reason", title: "Invalid reason"},

	{is: ports.ErrNotFound, status: 404, code: "order-not-found", title: "Order not found",
		detail: "There is no order with this id."},
	{is: ports.ErrConflict, status: 409, code: "version-conflict", title: "Order changed meanwhile", retryAfter: 1,
		detail: "Others kept changing the order at the same moment. Nothing was changed by this request: send it " +
			"again."},
	{is: ports.ErrVersionMismatch, status: 412, code: "version-mismatch", title: "Order is at another version",
		detail: "The order is not at the version that If-Match asks for. Read it again, then decide."},
	{is: ports.ErrDuplicateRequest, status: 409, code: "request-in-flight", title: "Request in flight", retryAfter: 1,
		detail: "A request with this Idempotency-Key is being carried out. Send it again for its answer."},
	{is: ports.ErrKeyReused, status: 422, code: "idempotency-key-reused", title: "Idempotency-Key reused",
		detail: "This Idempotency-Key was given to another request, which was carried out. A new request takes a new " +
			"key."},
	{is: ports.ErrIdempotencyUnsupported, status: 501, code: "no-idempotency", title: "No Idempotency-Key here",
		detail: "The store of this service does not keep Idempotency-Keys: send the request without one, and look " +
			"before you send it again."},
	{is: ports.ErrNoHistory, status: 501, code: "no-history", title: "No history here",
		detail: "The store of this service does not tell what has happened to an order."},
	{is: ports.ErrNoSuchVersion, status: 404, code: "version-not-found", title: "No such version",
		detail: "The order never was at this version. Read it without one: its version is the highest."},
	{is: ports.ErrHistoryDeleted, status: 410, code: "history-deleted", title: "History deleted",
		detail: "The service no longer keeps what had happened to the order by then. The order as it is now can be " +
			"read without a version."},
	{is: ports.ErrBadCursor, status: 400, code: "bad-cursor", title: "Bad cursor",
		detail: "Use the cursor of the page before as it was given, for the same list."},
	{is: ports.ErrNotBuilt, status: 503, code: "view-not-built", title: "View not built", retryAfter: 60,
		detail: "The service is newer than its read model, which does not have this view. Its operator has to run " +
			"`hexorders views rebuild`."},
	{is: ports.ErrOverloaded, status: 503, code: "overloaded", title: "Overloaded", retryAfter: 1,
		detail: "Too many commands are under way. Nothing was changed by this request: send it again."},
	{is: ports.ErrNoRoom, status: 503, code: "store-full", title: "Store full", retryAfter: 30,
		detail: "The store has no room. Nothing was changed by this request: send it again once its operator has made room."},
	{is: ports.ErrUnavailable, status: 503, code: "unavailable", title: "Store unavailable", retryAfter: 1,
		detail: "The store cannot be reached. " + mayHaveTakenEffect},

	{is: errMalformedJSON, status: 400, code: "malformed-json", title: "Malformed JSON"},
	{is: errUnknownField, status: 400, code: "unknown-field", title: "Unknown field",
		detail: "The body has a field that is not known."},
	{is: errDuplicateField, status: 400, code: "duplicate-field", title: "Duplicate field",
		detail: "The body has a field twice."},
	{is: errWrongType, status: 400, code: "wrong-type", title: "Wrong type",
		detail: "The body has a value of the wrong type."},
	{is: errMissingField, status: 422, code: "missing-field", title: "Missing field",
		detail: "The body lacks a field."},
	{is: errInvalidQuery, status: 400, code: "invalid-query", title: "Invalid query",
		detail: "A query parameter is missing or invalid."},
	{is: errBadIfMatch, status: 400, code: "bad-if-match", title: "Malformed If-Match",
		detail: `If-Match takes the ETag of an order as it was given, such as "7" with its quotes, or *.`},
	{is: errBadIfNoneMatch, status: 400, code: "bad-if-none-match", title: "Malformed If-None-Match",
		detail: `If-None-Match takes the ETag of an order as it was given, such as "7" with its quotes, or *.`},
	{is: errIfMatchRequired, status: 428, code: "if-match-required", title: "If-Match required",
		detail: "Send If-Match with the ETag of the order as you read it, or with * for any version."},
	{is: errBadKey, status: 400, code: "bad-idempotency-key", title: "Malformed Idempotency-Key",
		detail: `Idempotency-Key takes one string of 1 to 255 visible ASCII characters, none of them a quote or a ` +
			`backslash, such as "8e03978e-40d5-43dd-bc93-6894a57f9324"; its quotes may be left out.`},
	{is: errBodyTimeout, status: 408, code: "body-timeout", title: "Body too slow",
		detail: "The body did not arrive in time."},
	{is: errBodyTooLarge, status: 413, code: "body-too-large", title: "Body too large"},
	{is: errNotJSON, status: 415, code: "not-json", title: "Not JSON",
		detail: "Send the body as Content-Type: application/json, in UTF-8 and not compressed."},
	{is: errTooManyRequests, status: 429, code: "too-many-requests", title: "Too many requests",
		detail: "This client sends more requests than it may. The header Retry-After says when to go on, in seconds."},
	{is: errTooManyConnections, status: 503, code: "too-many-connections", title: "Too many connections", retryAfter: 1,
		detail: "The service has as many connections as it may. Nothing was changed by this request: send it again."},
	{is: errCrossOrigin, status: 403, code: "cross-origin", title: "Page of another origin",
		detail: "A page in a browser sends a command and is not of this origin. HEXORDERS_HTTP_CORS_ORIGINS names the origins " +
			"whose pages may."},
	{is: errUnknownHost, status: 421, code: "unknown-host", title: "Unknown host name",
		detail: "The service does not answer for this host name. HEXORDERS_HTTP_HOSTS names those that it answers for."},
	{is: errNoSuchPath, status: 404, code: "no-such-path", title: "No such path",
		detail: "Nothing is served under this path."},
	{is: errMethodNotAllowed, status: 405, code: "method-not-allowed", title: "Method not allowed",
		detail: "The header Allow lists the methods of this path."},
	{is: errMalformedRequest, status: 400, code: "malformed-request", title: "Malformed request"},
	{is: errUnknownExpectation, status: 417, code: "unknown-expectation", title: "Unknown expectation"},
	{is: errHeadersTooLarge, status: 431, code: "headers-too-large", title: "Headers too large"},
	{is: errUnsupportedEncoding, status: 501, code: "unsupported-encoding", title: "Unsupported encoding"},
	{is: errUnsupportedVersion, status: 505, code: "unsupported-version", title: "Unsupported version of HTTP"},
	{is: errNotReady, status: 503, code: "not-ready", title: "Not ready", retryAfter: 1,
		detail: "The service is stopping, or its store cannot be reached or takes no writes."},
	{is: context.DeadlineExceeded, status: 503, code: "interrupted", title: "Interrupted", retryAfter: 1,
		detail: mayHaveTakenEffect},
	{is: context.Canceled, status: 503, code: "interrupted", title: "Interrupted", retryAfter: 1,
		detail: mayHaveTakenEffect},
}

// internalProblem answers for an error that fits no row: a fault of the service.
var internalProblem = problemKind{
	status: 500, code: "internal", title: "Internal error",
	detail: "Something went wrong on our side. The request id finds it in the log.",
}

const mayHaveTakenEffect = "The request may or may not have taken effect: read before you send it again."

// typePrefix and a code are a problem's type: the path of its page (problem_pages.go), the same in every installation.
const typePrefix = "/problems/"

type problemJSON struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	RequestID string       `json:"requestId"`
	Errors    []fieldError `json:"errors,omitempty"`
}

// fieldError says what is wrong with one part of the input: of the body (Pointer) or of the query (Parameter).
type fieldError struct {
	Pointer   *string `json:"pointer,omitempty"` // a JSON pointer; "" is the body itself
	Parameter string  `json:"parameter,omitempty"`
	Detail    string  `json:"detail"`
}

func atPointer(pointer, detail string) fieldError {
	return fieldError{Pointer: &pointer, Detail: detail}
}

func kindOf(err error) problemKind {
	for _, kind := range problems {
		if errors.Is(err, kind.is) {
			return kind
		}
	}
	return internalProblem
}

// problem answers with what went wrong; the access log gets the error itself.
func (a *api) problem(c *gin.Context, err error) {
	limits := order.InputErrors(err)
	kind := kindOf(err)
	if len(limits) > 0 {
		kind = kindOf(limits[0])
	}
	a.note(c, kind.code, err)
	body := problemJSON{
		Type: typePrefix + kind.code, Title: kind.title, Status: kind.status, Detail: kind.detail, Code: kind.code,
		RequestID: requestID(c),
	}
	var input *inputError
	switch {
	case errors.As(err, &input):
		body.Errors = input.errors
		if input.detail != "" {
			body.Detail = input.detail
		}
	case len(limits) > 0:
		body.Detail = sentence(limits[0].Err.Error())
		for _, limit := range limits {
			if pointer, ok := pointerTo(limit); ok {
				body.Errors = append(body.Errors, atPointer(pointer, limit.Err.Error()))
			}
		}
	}
	if body.Detail == "" {
		body.Detail = sentence(kind.is.Error())
	}
	if kind.retryAfter > 0 {
		c.Header("Retry-After", strconv.Itoa(kind.retryAfter))
	}
	_ = writeJSON(c, kind.status, mediaProblem, body) // strings and numbers always encode
	c.Abort()
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
