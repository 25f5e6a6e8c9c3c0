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

// problems is the whole table. What an error says of itself is not shown unless it was made for clients, so that
// nothing from inside leaks out.
var problems = []problemKind{
	{order.ErrAlreadySubmitted, 409, "order-already-submitted", "Order already submitted", "A submitted order can be paid or cancelled; its items are final.", 0},
	{order.ErrAlreadyPaid, 409, "order-already-paid", "Order already paid", "A paid order can no longer change.", 0},
	{order.ErrAlreadyCancelled, 409, "order-already-cancelled", "Order already cancelled", "A cancelled order can no longer change.", 0},
	{order.ErrEmpty, 409, "order-empty", "Order has no items", "Add an item first: an order without items can be neither submitted nor paid.", 0},
	{order.ErrNoSuchItem, 409, "no-such-item", "Order has no such item", "The order has no item of this product.", 0},
	{order.ErrTooManyItems, 422, "too-many-items", "Too many items", "", 0},
	{order.ErrInvalidAmount, 422, "invalid-amount", "Invalid amount", "", 0},
	{order.ErrInvalidID, 422, "invalid-id", "Invalid id", "", 0},
	{order.ErrInvalidCancelledBy, 422, "invalid-cancelled-by", "Invalid canceller", "", 0},
	{order.ErrInvalidReason, 422, "invalid-reason", "Invalid reason", "", 0},

	{ports.ErrNotFound, 404, "order-not-found", "Order not found", "There is no order with this id.", 0},
	{ports.ErrConflict, 409, "version-conflict", "Order changed meanwhile", "Others kept changing the order at the same moment. Nothing was changed by this request: send it again.", 0},
	{ports.ErrVersionMismatch, 412, "version-mismatch", "Order is at another version", "The order is not at the version that If-Match asks for. Read it again and decide anew.", 0},
	{ports.ErrDuplicateRequest, 409, "request-in-flight", "Request in flight", "A request with this Idempotency-Key is being carried out. Send it again for its answer.", 1},
	{ports.ErrKeyReused, 422, "idempotency-key-reused", "Idempotency-Key reused", "This Idempotency-Key was given to another request, which was carried out. A new request takes a new key.", 0},
	{ports.ErrIdempotencyUnsupported, 501, "no-idempotency", "No Idempotency-Key here", "The store of this service does not keep Idempotency-Keys: send the request without one, and look before you send it again.", 0},
	{ports.ErrNoHistory, 501, "no-history", "No history here", "The store of this service does not tell what has happened to an order.", 0},
	{ports.ErrNoSuchVersion, 404, "version-not-found", "No such version", "The order never was at this version. Read it without one: its version is the highest.", 0},
	{ports.ErrHistoryDeleted, 410, "history-deleted", "History deleted", "The service no longer keeps what had happened to the order by then. The order as it is now can be read without a version.", 0},
	{ports.ErrBadCursor, 400, "bad-cursor", "Bad cursor", "Use the cursor of the page before as it was given, for the same list.", 0},
	{ports.ErrUnavailable, 503, "unavailable", "Store unavailable", "The store cannot be reached. " + mayHaveTakenEffect, 1},

	{errMalformedJSON, 400, "malformed-json", "Malformed JSON", "", 0},
	{errUnknownField, 400, "unknown-field", "Unknown field", "The body has a field that is not known.", 0},
	{errDuplicateField, 400, "duplicate-field", "Duplicate field", "The body has a field twice.", 0},
	{errWrongType, 400, "wrong-type", "Wrong type", "The body has a value of the wrong type.", 0},
	{errMissingField, 422, "missing-field", "Missing field", "The body lacks a field.", 0},
	{errInvalidQuery, 400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.", 0},
	{errBadIfMatch, 400, "bad-if-match", "Malformed If-Match", `If-Match takes the ETag of an order as it was given, such as "7" with its quotes, or *.`, 0},
	{errBadIfNoneMatch, 400, "bad-if-none-match", "Malformed If-None-Match", `If-None-Match takes the ETag of an order as it was given, such as "7" with its quotes, or *.`, 0},
	{errIfMatchRequired, 428, "if-match-required", "If-Match required", "Send If-Match with the ETag of the order as you read it, or with * for any version.", 0},
	{errBadKey, 400, "bad-idempotency-key", "Malformed Idempotency-Key", `Idempotency-Key takes one string of 1 to 255 visible ASCII characters, none of them a quote or a backslash, such as "8e03978e-40d5-43dd-bc93-6894a57f9324"; its quotes may be left out.`, 0},
	{errBodyTimeout, 408, "body-timeout", "Body too slow", "The body did not arrive in time.", 0},
	{errBodyTooLarge, 413, "body-too-large", "Body too large", "", 0},
	{errNotJSON, 415, "not-json", "Not JSON", "Send the body as Content-Type: application/json, in UTF-8 and not compressed.", 0},
	{errTooManyRequests, 429, "too-many-requests", "Too many requests", "This client sends more requests than it may. The header Retry-After says when to go on, in seconds.", 0},
	{errNoSuchPath, 404, "no-such-path", "No such path", "Nothing is served under this path.", 0},
	{errMethodNotAllowed, 405, "method-not-allowed", "Method not allowed", "The header Allow lists the methods of this path.", 0},
	{errNotReady, 503, "not-ready", "Not ready", "The service is stopping, or its store cannot be reached.", 1},
	{context.DeadlineExceeded, 503, "interrupted", "Interrupted", mayHaveTakenEffect, 1},
	{context.Canceled, 503, "interrupted", "Interrupted", mayHaveTakenEffect, 1},
}

// internalProblem is for whatever no row fits: a fault of ours.
var internalProblem = problemKind{nil, 500, "internal", "Internal error", "Something went wrong on our side. The request id finds it in the log.", 0}

const mayHaveTakenEffect = "The request may or may not have taken effect: read before you send it again."

// typePrefix makes a problem's type of its code. A URN, because it names the kind for ever, wherever this runs.
const typePrefix = "urn:hexorders:problem:"

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
	kind := kindOf(err)
	note(c, kind.code, err)
	body := problemJSON{
		Type: typePrefix + kind.code, Title: kind.title, Status: kind.status, Detail: kind.detail, Code: kind.code,
		RequestID: requestID(c),
	}
	var input *inputError
	var limit *order.InputError
	switch {
	case errors.As(err, &input):
		body.Errors = input.errors
		if input.detail != "" {
			body.Detail = input.detail
		}
	case errors.As(err, &limit):
		body.Detail = sentence(limit.Err.Error())
		if pointer, ok := pointerTo(limit); ok {
			body.Errors = []fieldError{atPointer(pointer, limit.Err.Error())}
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

// pointerTo finds the place in the body that broke a limit of the core. Some values do not come from the body.
func pointerTo(e *order.InputError) (string, bool) {
	names := map[string]string{"buyer": "/buyerId", "product": "/productId", "amount": "/amount", "by": "/by", "reason": "/reason"}
	name, ok := names[e.Field]
	if e.Line >= 0 {
		// "items" is about the line as a whole: the one that was too many.
		return "/items/" + strconv.Itoa(e.Line) + name, ok || e.Field == "items"
	}
	return name, ok
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
