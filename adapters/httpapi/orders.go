package httpapi

import (
	"net/http"
	"net/url"
	"reflect"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
	"hexorders/ports"
)

func (a *api) create(c *gin.Context) error {
	var body orderBody
	key, err := a.input(c, &body, required)
	if err != nil {
		return err
	}
	o, err := a.Orders.Create(c.Request.Context(), *body.BuyerID, body.items(), key)
	if err != nil {
		return err
	}
	c.Header("Location", "/orders/"+url.PathEscape(o.ID()))
	return writeOrder(c, http.StatusCreated, o)
}

func (a *api) get(c *gin.Context, query url.Values) error {
	id, err := orderID(c)
	if err != nil {
		return err
	}
	conditions, err := readConditions(c.Request.Header)
	if err != nil {
		return err
	}
	version, err := parseVersion(query)
	if err != nil {
		return err
	}
	o, caching, err := a.read(c, id, version)
	if err != nil {
		return err
	}
	if !conditions.matches(o.Version()) {
		return ports.ErrVersionMismatch
	}
	c.Header("Cache-Control", caching)
	if conditions.excludes(o.Version()) { // looked at second (RFC 9110, 13.2.2)
		c.Header("ETag", etag(o.Version()))
		c.Status(http.StatusNotModified)
		return nil
	}
	return writeOrder(c, http.StatusOK, o)
}

// read returns the current order (version 0) or a past version of it. A past version never changes and is cached without
// asking again; the current order is cached and revalidated by its ETag.
func (a *api) read(c *gin.Context, id string, version int) (o *order.Order, caching string, err error) {
	if version == 0 {
		o, err = a.Orders.Get(c.Request.Context(), id)
		return o, "private, no-cache", err
	}
	o, err = a.Orders.At(c.Request.Context(), id, version)
	return o, "private, max-age=31536000, immutable", err
}

// parseVersion returns the version in the query, 0 if there is none.
func parseVersion(query url.Values) (version int, err error) {
	if !query.Has("version") {
		return 0, nil
	}
	if version, err = versionIn(query.Get("version")); err != nil {
		return 0, invalidParameter("version", "must be a whole number from 1 to 999999999")
	}
	return version, nil
}

func (a *api) events(c *gin.Context, query url.Values) error {
	id, err := orderID(c)
	if err != nil {
		return err
	}
	asked, err := parsePage(query)
	if err != nil {
		return err
	}
	page, err := a.Orders.Events(c.Request.Context(), id, asked)
	if err != nil {
		return err
	}
	body := history{
		OrderID: id, Version: page.Version, Events: make([]eventJSON, len(page.Messages)),
		Complete: page.Complete, NextCursor: page.Next,
	}
	for i, m := range page.Messages {
		body.Events[i] = eventJSON{
			ID: m.ID, Type: m.Type, Version: m.Version, OccurredAt: timestamp(m.OccurredAt), Data: m.Payload,
		}
	}
	if page.Next != "" {
		linkNext(c, "/orders/"+url.PathEscape(id)+"/events", query, page.Next)
	}
	return writeJSON(c, http.StatusOK, mediaJSON, body)
}

func (a *api) addItem(c *gin.Context) error {
	var body itemBody
	at, err := a.command(c, &body, required)
	if err != nil {
		return err
	}
	item := body.item()
	o, err := a.Orders.AddItem(c.Request.Context(), at, item.Product, item.Amount)
	return writeChanged(c, o, err)
}

func (a *api) changeAmount(c *gin.Context) error {
	var body amountBody
	at, err := a.command(c, &body, required)
	if err != nil {
		return err
	}
	product, err := pathValue(c, "productId")
	if err != nil {
		return order.ErrNoSuchItem
	}
	o, err := a.Orders.ChangeAmount(c.Request.Context(), at, product, int(*body.Amount))
	return writeChanged(c, o, err)
}

func (a *api) removeItem(c *gin.Context) error {
	at, err := a.command(c, &noBody{}, optional)
	if err != nil {
		return err
	}
	product, err := pathValue(c, "productId")
	if err != nil {
		return order.ErrNoSuchItem
	}
	o, err := a.Orders.RemoveItem(c.Request.Context(), at, product)
	return writeChanged(c, o, err)
}

func (a *api) submit(c *gin.Context) error {
	at, err := a.command(c, &noBody{}, optional)
	if err != nil {
		return err
	}
	o, err := a.Orders.Submit(c.Request.Context(), at)
	return writeChanged(c, o, err)
}

func (a *api) pay(c *gin.Context) error {
	at, err := a.command(c, &noBody{}, optional)
	if err != nil {
		return err
	}
	o, err := a.Orders.Pay(c.Request.Context(), at)
	return writeChanged(c, o, err)
}

func (a *api) cancel(c *gin.Context) error {
	body := cancelBody{By: string(order.ByBuyer)}
	at, err := a.command(c, &body, optional)
	if err != nil {
		return err
	}
	o, err := a.Orders.Cancel(c.Request.Context(), at, order.CancelledBy(body.By), body.Reason)
	return writeChanged(c, o, err)
}

// command reads what all commands on an existing order have: its id, perhaps a body, perhaps conditions, looked at in
// this order, because a precondition counts only for a request that is otherwise right (RFC 9110, 13.2.1).
func (a *api) command(c *gin.Context, body any, p presence) (ports.Target, error) {
	id, err := orderID(c)
	if err != nil {
		return ports.Target{}, err
	}
	key, err := a.input(c, body, p)
	if err != nil {
		return ports.Target{}, err
	}
	at, err := a.target(c, id)
	at.Key = key
	return at, err
}

// input reads the body into a struct, which holds the defaults, and then the Idempotency-Key.
func (a *api) input(c *gin.Context, into any, p presence) (ports.IdempotencyKey, error) {
	body := reflect.ValueOf(into).Elem()
	defaults := body.Interface() // a copy, taken before the body changes it
	if err := a.readBody(c, into, p); err != nil {
		return ports.IdempotencyKey{}, err
	}
	return idempotencyKey(c, body.Interface(), defaults)
}

// writeChanged answers a command on an order with that order, whatever part of it the path names (RFC 9110, 8.7).
func writeChanged(c *gin.Context, o *order.Order, err error) error {
	if err != nil {
		return err
	}
	c.Header("Content-Location", "/orders/"+url.PathEscape(o.ID()))
	return writeOrder(c, http.StatusOK, o)
}

func writeOrder(c *gin.Context, status int, o *order.Order) error {
	c.Header("ETag", etag(o.Version()))
	return writeJSON(c, status, mediaJSON, toJSON(o))
}

// orderID is the id in the path. An id that no order can have is not looked up.
func orderID(c *gin.Context) (string, error) {
	id, err := pathValue(c, "id")
	if err != nil {
		return "", ports.ErrNotFound
	}
	if err := order.CheckID(id); err != nil {
		return "", &inputError{is: ports.ErrNotFound, detail: "There is no order with this id: an " + err.Error() + "."}
	}
	return id, nil
}

func pathValue(c *gin.Context, name string) (string, error) { return url.PathUnescape(c.Param(name)) }
