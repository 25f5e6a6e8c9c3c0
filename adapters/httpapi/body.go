package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
)

// The bodies that the API accepts. A pointer is a required field; a field without one may be left out.
type (
	orderBody struct {
		BuyerID *string    `json:"buyerId"`
		Items   []itemBody `json:"items"`
	}
	itemBody struct {
		Amount    *whole  `json:"amount"`
		ProductID *string `json:"productId"`
	}
	amountBody struct {
		Amount *whole `json:"amount"`
	}
	cancelBody struct {
		By     string `json:"by"`
		Reason string `json:"reason"`
	}
	noBody struct{}
)

func (b *orderBody) items() []order.Item {
	var items []order.Item
	for _, item := range b.Items {
		items = append(items, item.item())
	}
	return items
}

func (b *itemBody) item() order.Item {
	return order.Item{Product: *b.ProductID, Amount: int(*b.Amount)}
}

type presence bool

const (
	required presence = true
	optional presence = false
)

// readBody decodes a request's body into the struct that into points to. Without a body the struct stays as it is. Many
// generated clients send null for an optional body that they were not given.
func (a *api) readBody(c *gin.Context, into any, p presence) error {
	tooLarge := &inputError{is: errBodyTooLarge, detail: fmt.Sprintf("A body may have at most %d bytes.", a.MaxBody)}
	if c.Request.ContentLength > a.MaxBody {
		return tooLarge
	}
	if announced(c.Request) && !declaredJSON(c.Request.Header) {
		return notJSON(c)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, a.MaxBody))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBodyTimeout
	case err != nil:
		return &inputError{is: errMalformedJSON, detail: "The body ended before it was complete."}
	case len(body) == 0 && p == optional:
		return nil
	case len(body) == 0:
		return &inputError{is: errMalformedJSON, detail: "The body is empty; a JSON object is needed."}
	case !declaredJSON(c.Request.Header):
		return notJSON(c)
	case p == optional && string(bytes.Trim(body, " \t\r\n")) == "null":
		return nil
	}
	return decode(body, into)
}

// announced tells whether a body is to come. A client may wait for 100 (Continue), which the server sends when the body is
// read: what can be refused before is not asked for.
func announced(r *http.Request) bool { return r.ContentLength > 0 || r.Header.Get("Expect") != "" }

// notJSON also says in headers what is taken (RFC 9110, 15.5.16).
func notJSON(c *gin.Context) error {
	c.Header("Accept", mediaJSON)
	c.Header("Accept-Encoding", "identity")
	return errNotJSON
}

// declaredJSON tells whether the body is declared as JSON without compression. Parameters of the media type mean nothing
// (RFC 8259, 11), charset included: JSON between systems is UTF-8 (8.1), and a body that is not is malformed.
func declaredJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != mediaJSON {
		return false
	}
	coding := h.Get("Content-Encoding")
	return coding == "" || strings.EqualFold(coding, "identity")
}

// What can be wrong with a request before the order is asked.
var (
	errNotJSON        = errors.New("the body is not declared as JSON")
	errBodyTooLarge   = errors.New("the body is too large")
	errBodyTimeout    = errors.New("the body did not arrive in time")
	errMalformedJSON  = errors.New("the body is not well-formed JSON")
	errUnknownField   = errors.New("the body has an unknown field")
	errDuplicateField = errors.New("the body has a field twice")
	errWrongType      = errors.New("the body has a value of the wrong type")
	errMissingField   = errors.New("the body lacks a field")
	errInvalidQuery   = errors.New("the query is invalid")
)

// inputError says what is wrong with a request's input, and where.
type inputError struct {
	is     error // one of the above
	detail string
	errors []fieldError
}

func (e *inputError) Error() string {
	if e.detail == "" {
		return e.is.Error()
	}
	return e.is.Error() + ": " + e.detail
}

func (e *inputError) Unwrap() error { return e.is }

// pointerTo finds the place in the body that broke a limit of the core. Some values do not come from the body.
func pointerTo(e *order.InputError) (string, bool) {
	names := map[string]string{
		"buyer": "/buyerId", "product": "/productId", "amount": "/amount", "by": "/by", "reason": "/reason",
	}
	name, ok := names[e.Field]
	if e.Line >= 0 {
		// "items" is about the line as a whole: the one that was too many.
		return "/items/" + strconv.Itoa(e.Line) + name, ok || e.Field == "items"
	}
	return name, ok
}
