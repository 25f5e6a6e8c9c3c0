package httpapi

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

// The parameters of a query, and the pages of a list.

// parseQuery reads a query that may have these parameters and no others, each at most once.
func parseQuery(raw string, parameters []string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &inputError{is: errInvalidQuery, detail: "The query is not well-formed."}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(parameters, name) {
			return nil, unknownParameter(name, parameters)
		}
		if len(query[name]) > 1 {
			return nil, invalidParameter(name, "may be given once")
		}
	}
	return query, nil
}

func unknownParameter(name string, known []string) error {
	detail := "is not known here; no parameter is"
	if len(known) > 0 {
		detail = "is not known here; known are " + strings.Join(known, ", ")
	}
	if !echoable(name) {
		return &inputError{is: errInvalidQuery, detail: "The query has a parameter that " + detail + "."}
	}
	return invalidParameter(name, detail)
}

func parsePage(query url.Values) (ports.Page, error) {
	page := ports.Page{Cursor: query.Get("cursor")}
	if query.Has("cursor") && page.Cursor == "" {
		return page, invalidParameter("cursor", "must not be empty")
	}
	if query.Has("limit") {
		limit, err := strconv.Atoi(query.Get("limit"))
		if err != nil || limit < 1 || limit > ports.MaxPageLimit || strconv.Itoa(limit) != query.Get("limit") {
			return page, invalidParameter("limit", fmt.Sprintf("must be a whole number from 1 to %d", ports.MaxPageLimit))
		}
		page.Limit = limit
	}
	return page, nil
}

func invalidParameter(name, detail string) error {
	return &inputError{is: errInvalidQuery, errors: []fieldError{{Parameter: name, Detail: detail}}}
}

// oneOf reads a parameter that is one of a few words.
func oneOf[T ~string](query url.Values, name string, words ...T) (T, error) {
	var known []string
	for _, word := range words {
		if string(word) == query.Get(name) {
			return word, nil
		}
		known = append(known, string(word))
	}
	return "", invalidParameter(name, "must be one of "+strings.Join(known, ", "))
}

// linkNext names the next page by its address, relative to the host (RFC 8288, 3.1 allows that). It keeps the parameters
// of this page but for the required version: this page had it.
func linkNext(c *gin.Context, path string, query url.Values, cursor string) {
	next := url.Values{"cursor": {cursor}}
	for name, values := range query {
		if name != "cursor" && name != atLeastVersion {
			next[name] = values
		}
	}
	c.Header("Link", "<"+path+"?"+next.Encode()+`>; rel="next"`)
}
