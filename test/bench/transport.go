package main

import (
	"bytes"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// transport carries the load generator's requests. net/http's own takes two more goroutines a connection and twice the
// processor time a request, and that time is taken from the service that is measured on the same machine.
type transport struct{ client *fasthttp.HostClient }

func newTransport(address string, connections int) *transport {
	return &transport{&fasthttp.HostClient{
		Addr: address, MaxConns: connections, ReadTimeout: 30 * time.Second,
		MaxIdemponentCallAttempts: 1, // each request is sent once, or counts as failed
	}}
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	request.Header.SetMethod(r.Method)
	request.SetRequestURI(r.URL.RequestURI())
	request.Header.SetHost(r.URL.Host)
	for name, values := range r.Header {
		request.Header.Set(name, values[0])
	}
	if r.Body != nil {
		request.SetBodyStream(r.Body, int(r.ContentLength))
	}
	if err := t.client.Do(request, response); err != nil {
		fasthttp.ReleaseResponse(response)
		return nil, err
	}
	body := &responseBody{response: response}
	body.Reset(response.Body())
	return &http.Response{StatusCode: response.StatusCode(), Status: http.StatusText(response.StatusCode()), Body: body, Request: r}, nil
}

func (t *transport) close() { t.client.CloseIdleConnections() }

// responseBody is read where it was received, and gives its buffer back when it is closed.
type responseBody struct {
	bytes.Reader
	response *fasthttp.Response
}

func (b *responseBody) Close() error {
	fasthttp.ReleaseResponse(b.response)
	return nil
}
