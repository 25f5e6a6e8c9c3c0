package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/promql/parser"
)

func TestTheDashboardIsGeneratedFromTheRows(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the rows make, error %v: run make dashboard", file, err)
	}
}

// Grafana ignores a field that it does not know, and shows an empty panel.
func TestGrafanaKnowsEveryField(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if problem := unknown(text); problem != "" {
		t.Error(problem)
	}
	wrong := bytes.Replace(text, []byte(`"legendFormat"`), []byte(`"legendFromat"`), 1)
	if problem := unknown(wrong); !strings.Contains(problem, "legendFromat") {
		t.Errorf("of a field that is spelled wrong it says %q", problem)
	}
}

// unknown says what Grafana's types have no field for. Without a problem the error is a nil slice, not nil.
func unknown(text []byte) string {
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict(text); err != nil {
		return err.Error()
	}
	return ""
}

func TestEveryQueryIsPromQL(t *testing.T) {
	for _, r := range rows {
		if len(r.panels) == 0 || 24%len(r.panels) != 0 {
			t.Errorf("row %s: %d panels do not fill its width", r.title, len(r.panels))
		}
		for _, p := range r.panels {
			if len(p.queries) == 0 {
				t.Errorf("panel %s asks nothing", p.title)
			}
			for _, q := range p.queries {
				expression := strings.ReplaceAll(q.expression, "$__rate_interval", "1m")
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(expression); err != nil {
					t.Errorf("panel %s: %s: %v", p.title, q.expression, err)
				}
			}
		}
	}
}
