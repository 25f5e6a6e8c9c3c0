package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"io/fs"
	"net/http"
)

// Demo is what the page Break it needs. Only `hexorders demo` has it, which listens on the loopback only.
type Demo struct {
	State func(ctx context.Context) (any, error)
	Press func(ctx context.Context, button string) error
}

// ErrNoButton is Press's error for a button that does not exist.
var ErrNoButton = errors.New("there is no such button")

//go:embed demo
var demoFiles embed.FS

// serveDemo adds the pages below /console/demo/. A button is a POST with the token that the page got with the state; a page
// of another origin can read neither, and cannot send the header.
func (c *console) serveDemo(mux *http.ServeMux) {
	token := rand.Text()
	files, _ := fs.Sub(demoFiles, "demo") // the name is valid
	mux.Handle("GET /console/demo/", http.StripPrefix("/console/demo", http.FileServerFS(files)))
	mux.HandleFunc("GET /console/demo/state", func(w http.ResponseWriter, r *http.Request) {
		state, err := c.Demo.State(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, map[string]any{"token": token, "state": state})
	})
	mux.HandleFunc("POST /console/demo/press/{button}", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Demo-Token")), []byte(token)) == 0 {
			http.Error(w, "The token is not that of this process: load the page again.", http.StatusForbidden)
			return
		}
		switch err := c.Demo.Press(r.Context(), r.PathValue("button")); {
		case errors.Is(err, ErrNoButton):
			http.Error(w, err.Error(), http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
}
