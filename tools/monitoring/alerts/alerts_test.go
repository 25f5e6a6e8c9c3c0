// Package alerts tries the alert rules in deploy/prometheus with Prometheus' own parser and engine. The cases are in the
// format of `promtool test rules`, which finds the same; promtool itself would take minutes to build here, for the
// clients of all the clouds that are linked into it.
package alerts

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"go.yaml.in/yaml/v3"
)

const folder = "../../../deploy/prometheus"

// cases is a file of promtool's, as far as it is used here; anything else in it is an error.
type cases struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []struct {
		Name        string         `yaml:"name"`
		Interval    model.Duration `yaml:"interval"`
		InputSeries []struct {
			Series string `yaml:"series"`
			Values string `yaml:"values"`
		} `yaml:"input_series"`
		AlertRuleTest []struct {
			EvalTime  model.Duration `yaml:"eval_time"`
			Alertname string         `yaml:"alertname"`
			ExpAlerts []alert        `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

type alert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

func TestTheAlertsFireWhenTheyShould(t *testing.T) {
	c := readCases(t)
	rules := map[string]rulefmt.Rule{}
	for _, file := range c.RuleFiles {
		maps.Copy(rules, readRules(t, filepath.Join(folder, file)))
	}
	fired, silent := map[string]bool{}, map[string]bool{}
	for _, test := range c.Tests {
		t.Run(test.Name, func(t *testing.T) {
			var series []storage.Series
			for _, s := range test.InputSeries {
				series = append(series, readSeries(t, s.Series+" "+s.Values, time.Duration(test.Interval)))
			}
			for _, want := range test.AlertRuleTest {
				rule, known := rules[want.Alertname]
				if !known {
					t.Fatalf("there is no alert %s", want.Alertname)
				}
				got := firing(t, rule, series, time.Duration(want.EvalTime), time.Duration(c.EvaluationInterval))
				if !slices.EqualFunc(got, want.ExpAlerts, same) {
					t.Errorf("%s after %s: got %v, want %v", want.Alertname, want.EvalTime, got, want.ExpAlerts)
				}
				if len(want.ExpAlerts) > 0 {
					fired[want.Alertname] = true
				} else {
					silent[want.Alertname] = true
				}
			}
		})
	}
	for name := range rules {
		if !fired[name] || !silent[name] {
			t.Errorf("%s: a case fires it: %v, a case keeps it silent: %v; want both", name, fired[name], silent[name])
		}
	}
}

// Every alert has its section in the manual, where its runbook says, and every section has its alert.
func TestEveryAlertIsInTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for name, rule := range readRules(t, filepath.Join(folder, "alerts.yaml")) {
		want = append(want, name)
		if runbook := "docs/operate.md#" + strings.ToLower(name); rule.Annotations["runbook"] != runbook {
			t.Errorf("the runbook of %s is %s, want %s", name, rule.Annotations["runbook"], runbook)
		}
	}
	for line := range strings.Lines(string(manual)) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "### "); is && strings.HasPrefix(name, "Hexorders") {
			got = append(got, name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("in the manual are\n%q, alerts are\n%q", got, want)
	}
}

func readCases(t *testing.T) (c cases) {
	t.Helper()
	file, err := os.Open(filepath.Join(folder, "alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.RuleFiles) == 0 || len(c.Tests) == 0 {
		t.Fatal("there are no rules or no tests: nothing is tried")
	}
	return c
}

func readRules(t *testing.T, file string) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatalf("%s: %v", file, errs)
	}
	rules := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if _, twice := rules[rule.Alert]; twice || rule.Alert == "" {
				t.Fatalf("%s: a rule without a name of its own: %+v", file, rule)
			}
			rules[rule.Alert] = rule
		}
	}
	return rules
}

// readSeries reads promtool's notation: 0+10x5 are six values from 0 on, _ is none, stale ends a series.
func readSeries(t *testing.T, notation string, interval time.Duration) storage.Series {
	t.Helper()
	name, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(notation)
	if err != nil {
		t.Fatalf("%s: %v", notation, err)
	}
	var samples []promql.FPoint
	for i, v := range values {
		if !v.Omitted {
			samples = append(samples, promql.FPoint{T: int64(i) * interval.Milliseconds(), F: v.Value})
		}
	}
	return promql.NewStorageSeries(promql.Series{Metric: name, Floats: samples})
}

// firing are the alerts of a rule at a moment: what its expression has said without a break for as long as it asks.
func firing(t *testing.T, rule rulefmt.Rule, series []storage.Series, at, every time.Duration) (alerts []alert) {
	t.Helper()
	since := map[uint64]time.Duration{} // when an element began to be there
	for now := time.Duration(0); now <= at; now += every {
		elements := evaluate(t, rule.Expr, series, now)
		there := map[uint64]bool{}
		alerts = nil
		for _, e := range elements {
			key := e.Metric.Hash()
			there[key] = true
			if _, was := since[key]; !was {
				since[key] = now
			}
			if now-since[key] >= time.Duration(rule.For) {
				alerts = append(alerts, alert{labelsOf(e.Metric, rule), rule.Annotations})
			}
		}
		maps.DeleteFunc(since, func(key uint64, _ time.Duration) bool { return !there[key] })
	}
	return alerts
}

func evaluate(t *testing.T, expression string, series []storage.Series, at time.Duration) promql.Vector {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{}),
	})
	query, err := engine.NewInstantQuery(t.Context(), memory(series), nil, expression, time.UnixMilli(at.Milliseconds()))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	defer query.Close()
	vector, err := query.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return slices.Clone(vector)
}

func labelsOf(metric labels.Labels, rule rulefmt.Rule) map[string]string {
	all := metric.Map()
	delete(all, labels.MetricName)
	maps.Copy(all, rule.Labels)
	return all
}

func same(got, want alert) bool {
	return maps.Equal(got.Labels, want.Labels) && maps.Equal(got.Annotations, want.Annotations)
}

// memory is a storage that holds these series.
type memory []storage.Series

func (m memory) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: m.find}, nil
}

func (m memory) find(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, series := range m {
		fits := func(matcher *labels.Matcher) bool { return matcher.Matches(series.Labels().Get(matcher.Name)) }
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !fits(m) }) {
			found = append(found, series)
		}
	}
	return &set{left: found}
}

// set hands its series out one by one.
type set struct {
	left []storage.Series
	at   storage.Series
}

func (s *set) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.at, s.left = s.left[0], s.left[1:]
	return true
}

func (s *set) At() storage.Series              { return s.at }
func (*set) Err() error                        { return nil }
func (*set) Warnings() annotations.Annotations { return nil }
