package httpapi

import (
	"bytes"
	"cmp"
	"html/template"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"
)

// The type of a problem is the address of its page: what it means, and what to do.

var problemTemplates = template.Must(template.ParseFS(pages, "pages/problem*.html"))

// problemPage is what the page says beside title and status.
type problemPage struct{ Means, Do string }

var problemPages = map[string]problemPage{
	"order-already-submitted": {"The order was submitted: its items are final, and it cannot be submitted again.",
		"Pay or cancel the order. For other items, create a new order."},
	"order-already-paid": {"The order was paid and can no longer change.",
		"Read the order: if you meant to pay it, you are done. A retry takes the Idempotency-Key of the first request."},
	"order-already-cancelled": {"The order was cancelled and can no longer change.", "Create a new order."},
	"order-empty": {"The order has no items, so it can be neither submitted nor paid.",
		"Add an item, then send the command again."},
	"no-such-item": {"The order has no item of this product.",
		"Read the order: its items are listed there. POST to its items adds one."},
	"too-many-items": {"An order has at most so many different products, and this command would exceed that.",
		"Put the rest into another order."},
	"invalid-amount": {"An amount is out of its bounds. It counts whole pieces.",
		"Correct the fields that 'errors' points at. To take an item away, DELETE it."},
	"invalid-id": {"An id is empty, too long, or has a character or a form that ids cannot have.",
		"Correct the fields that 'errors' points at."},
	"invalid-cancelled-by": {"The field 'by' has none of those who may cancel.",
		"Send one of the values that the description lists."},
	"invalid-reason": {"The reason is too long, or has control characters other than line breaks and tabs.",
		"Shorten it, or take those characters out."},
	"order-not-found": {"There is no order with this id.",
		"Compare the id with the Location of the answer that created the order. Ids are exact, case included."},
	"version-conflict": {"Others kept changing the order at the same moment. Nothing was changed by this request.",
		"Wait as long as Retry-After says, then send it again."},
	"version-mismatch": {"The order was changed since you read it: it is at another version than If-Match asks for.",
		"Read the order again, decide whether the command still makes sense, and send it with the new ETag."},
	"request-in-flight": {"A request with this Idempotency-Key is being carried out at this moment.",
		"Wait as long as Retry-After says, then send it again: it gets the answer of the first."},
	"idempotency-key-reused": {"This Idempotency-Key was given to another request, which was carried out.",
		"Take a new key for a new request, such as a fresh UUID. A retry must be the same request."},
	"no-idempotency": {"The store of this service does not keep Idempotency-Keys.",
		"Send the request without one. When no answer comes, read the order before you send it again."},
	"no-history": {"The store of this service keeps orders as they are, not what has happened to them.",
		"Read the order without a version. Its operator can choose a store with a history (HEXORDERS_STORE)."},
	"version-not-found": {"The order was never at this version: it is higher than the order's.",
		"Read the order without a version; its ETag is the highest."},
	"history-deleted": {"The service no longer keeps what had happened to the order by then.",
		"Read the order without a version: that is always there."},
	"bad-cursor": {"The cursor is not one that this list has given out for these parameters.",
		"Use nextCursor of the page before as it is, with the same parameters; or begin without a cursor."},
	"view-not-built": {"The service is newer than its read model, which does not have this view yet.",
		"Send the request later. Its operator has to run 'hexorders views rebuild'."},
	"overloaded": {"Too many commands are under way in this process. This one was not carried out.",
		"Wait as long as Retry-After says, then send it again, and fewer at once."},
	"store-full": {"The store takes no writes: its disk is full, say. Nothing was changed by this request, and orders can be read.",
		"Wait as long as Retry-After says, then send it again. Its operator has to make room."},
	"unavailable": {"The store cannot be reached. The request may or may not have taken effect.",
		"Wait as long as Retry-After says. Send a command again with the same Idempotency-Key, or read the order first."},
	"malformed-json": {"The body is not one JSON object in UTF-8.",
		"Correct the body; 'errors' says where it breaks, if that is known."},
	"unknown-field": {"The body has a field that is not known here, a mistyped one perhaps.",
		"Take out or correct the fields that 'errors' points at."},
	"duplicate-field": {"The body has a field twice, and which one counts is not clear.",
		"Send each field once."},
	"wrong-type": {"The body has a value of the wrong type, such as text for a number.",
		"Correct the values that 'errors' points at."},
	"missing-field": {"The body lacks a field that is required.", "Add the fields that 'errors' points at."},
	"invalid-query": {"A query parameter is missing, invalid, unknown, or given twice.",
		"Correct the parameters that 'errors' names. Numbers have no sign and no leading zero."},
	"bad-if-match": {"The header If-Match has no form that it can have.",
		"Send the ETag of the order as it was given, such as \"7\" with its quotes, several with commas, or *."},
	"bad-if-none-match": {"The header If-None-Match has no form that it can have.",
		"Send the ETag of the order as it was given, such as \"7\" with its quotes, several with commas, or *."},
	"if-match-required": {"This service takes a command on an order only with the version that it is for.",
		"Send If-Match with the ETag of the order as you read it, or with * for any version."},
	"bad-idempotency-key": {"The header Idempotency-Key has no form that it can have.",
		"Send one string of 1 to 255 visible ASCII characters without quotes and backslashes, such as a UUID."},
	"body-timeout": {"The body did not arrive in time. Nothing was changed by this request.",
		"Send it again, over a better connection."},
	"body-too-large": {"The body is longer than the service takes. It was not read.",
		"Send less: an order is filled by several commands."},
	"not-json": {"The body is of another media type, another charset, or compressed.",
		"Send it as Content-Type: application/json, in UTF-8 and not compressed."},
	"too-many-requests": {"This client sends more requests than it may. This one was not carried out.",
		"Wait as many seconds as Retry-After says, then send it again, and fewer at once."},
	"too-many-connections": {"The service has as many connections as it may have, and has closed this one.",
		"Wait as long as Retry-After says. Keep connections open and use them again, so that you need fewer."},
	"cross-origin": {"A page of another origin sent a command from a browser. It was not carried out.",
		"If the page is yours, name its origin in HEXORDERS_HTTP_CORS_ORIGINS."},
	"unknown-host": {"The service does not answer for this host name, so that no other name can be pointed at it.",
		"Use the name that the service has, or add this one to HEXORDERS_HTTP_HOSTS."},
	"no-such-path": {"Nothing is served under this path.",
		"Compare it with the description of the API. Paths are exact, case and slashes included."},
	"method-not-allowed": {"The path does not have this method.",
		"Use one of those that the header Allow lists."},
	"not-ready": {"The service is stopping, or its store cannot be reached.",
		"Send the request to another instance, or wait."},
	"interrupted": {"The work on the request was cut off before its end. The request may or may not have taken effect.",
		"Send a command again with the same Idempotency-Key, or read the order first."},
	"internal": {"Something went wrong in the service. The request may or may not have taken effect.",
		"Read the order before you send a command again. Tell the operator the requestId: it finds the request in the log."},
	"malformed-request": {"The request breaks the rules of HTTP: its first line, a header, its length, or a missing Host.",
		"Correct the client; its HTTP library should not let that happen."},
	"headers-too-large": {"The headers of the request are longer than the service takes.",
		"Send fewer or shorter headers; cookies are not needed."},
	"unknown-expectation": {"The header Expect asks for something else than 100-continue.",
		"Leave the header out."},
	"unsupported-encoding": {"The header Transfer-Encoding names an encoding other than chunked.",
		"Send the body as it is, or in chunks."},
	"unsupported-version": {"The request is of a version of HTTP that the service does not speak.",
		"Use HTTP/1.1."},
}

// problemOfPage is a problem as its page shows it.
type problemOfPage struct {
	problemPage
	Code, Title string
	Status      int
}

// describedProblems are all problems, by their codes.
var describedProblems = sync.OnceValue(func() (all []problemOfPage) {
	for _, kind := range append([]problemKind{internalProblem}, problems...) {
		all = append(all, problemOfPage{problemPages[kind.code], kind.code, kind.title, kind.status})
	}
	slices.SortFunc(all, func(a, b problemOfPage) int { return cmp.Compare(a.Code, b.Code) })
	return slices.Compact(all)
})

func (a *api) listProblems(c *gin.Context) error {
	return servePage(c, "problems.html", describedProblems())
}

func (a *api) showProblem(c *gin.Context) error {
	for _, p := range describedProblems() {
		if p.Code == c.Param("code") {
			return servePage(c, "problem.html", p)
		}
	}
	return errNoSuchPath
}

func servePage(c *gin.Context, name string, data any) error {
	var page bytes.Buffer
	if err := problemTemplates.ExecuteTemplate(&page, name, data); err != nil {
		return err
	}
	c.Header("Content-Security-Policy", docsPolicy)
	return serveFile(c, func() (*file, error) { return newFile("text/html; charset=utf-8", page.Bytes()) })
}
