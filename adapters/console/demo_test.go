package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestAButtonIsPressedWithTheTokenOfThePageOnly(t *testing.T) {
	var pressed []string
	down := false
	handler := New(Options{Feed: NewFeed(), Demo: &Demo{
		State: func(context.Context) (any, error) {
			if down {
				return nil, errors.New("the store is away")
			}
			return pressed, nil
		},
		Press: func(_ context.Context, button string) error {
			if button == "none" {
				return ErrNoButton
			}
			pressed = append(pressed, button)
			return nil
		},
	}})
	do := func(method, path, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		r.Header.Set("X-Demo-Token", token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	var known struct {
		Token string
		State []string
	}
	if err := json.Unmarshal(do("GET", "/console/demo/state", "").Body.Bytes(), &known); err != nil || len(known.Token) < 20 {
		t.Fatalf("the token is %q, error %v", known.Token, err)
	}
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/console/demo/break.html", "", http.StatusOK},
		{"POST", "/console/demo/press/relay", "", http.StatusForbidden},
		{"POST", "/console/demo/press/relay", "guessed", http.StatusForbidden},
		{"GET", "/console/demo/press/relay", known.Token, http.StatusNotFound},
		{"POST", "/console/demo/press/none", known.Token, http.StatusNotFound},
		{"POST", "/console/demo/press/broker", known.Token, http.StatusNoContent},
	} {
		if got := do(c.method, c.path, c.token).Code; got != c.want {
			t.Errorf("%s %s with token %q: %d, want %d", c.method, c.path, c.token, got, c.want)
		}
	}
	if want := []string{"broker"}; !slices.Equal(pressed, want) {
		t.Errorf("pressed were %q, want %q", pressed, want)
	}
	down = true
	if got := do("GET", "/console/demo/state", "").Code; got != http.StatusServiceUnavailable {
		t.Errorf("a state that cannot be read: %d, want 503", got)
	}
	handler = New(Options{Feed: NewFeed()})
	for _, path := range []string{"break.html", "state"} {
		if got := do("GET", "/console/demo/"+path, "").Code; got != http.StatusNotFound {
			t.Errorf("%s without a demo: %d, want 404", path, got)
		}
	}
}
