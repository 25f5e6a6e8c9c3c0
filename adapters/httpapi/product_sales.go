package httpapi

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
)

// GET /products/{productId}/sales says how much of a product was sold, from the view product-sales.

func init() { serveView("/products/:productId/sales", (*api).productSales) }

type salesJSON struct {
	ProductID string `json:"productId"`
	Units     int64  `json:"units"`
	Orders    int64  `json:"orders"`
}

func (a *api) productSales(c *gin.Context, query url.Values) error {
	product, err := pathValue(c, "productId")
	if err != nil {
		return errNoSuchPath
	}
	if err := order.CheckID(product); err != nil { // an unknown product was not sold yet; this one cannot be
		return &inputError{is: errNoSuchPath, detail: "There is no product with this id: an " + err.Error() + "."}
	}
	required, err := requiredEvent(query)
	if err != nil {
		return err
	}
	row, freshness, err := a.Views.Row(c.Request.Context(), "product-sales", product, required)
	if err != nil {
		return err
	}
	freshnessHeaders(c, freshness, required.OrderID)
	return writeJSON(c, http.StatusOK, mediaJSON, salesJSON{product, row.Counter("units"), row.Counter("orders")})
}
