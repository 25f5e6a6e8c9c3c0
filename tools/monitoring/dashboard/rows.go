package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

type row struct {
	title  string
	panels []panel
}

type panel struct {
	title, description string
	unit               string
	queries            []query
}

// query is PromQL. Each gives a series at any time: "or vector(0)" stands for a label that has not come yet.
type query struct{ legend, expression string }

// api are the requests of clients, without probes, scrapes and pages.
const api = `job="hexorders", route=~"/(orders|buyers|products).*"`

// rows go from the client to the machine.
var rows = []row{
	{"Is it well?", []panel{
		{"Alerts", "Each has its section in docs/operate.md.", units.Short, []query{
			{"{{alertname}}", `sum by (alertname) (ALERTS{job="hexorders", alertstate="firing"}) or vector(0)`},
		}},
		{"Processes", "Ready: /readyz answers 200. One relay publishes, however many there are.", units.Short, []query{
			{"running", `sum(up{job="hexorders"})`},
			{"ready", `sum(hexorders_ready{job="hexorders"})`},
			{"relays that publish", `sum(hexorders_relay_lease_held{job="hexorders"})`},
		}},
		{"Waiting for an operator", "hexorders outbox parked, hexorders views parked, hexorders views status.", units.Short, []query{
			{"orders parked by the broker", `max(hexorders_relay_parked_orders{job="hexorders"})`},
			{"orders parked in the views", `max(hexorders_view_parked_orders{job="hexorders"})`},
			{"views incomplete: {{reason}}", `max by (reason) (hexorders_view_incomplete{job="hexorders"})`},
		}},
	}},
	{"Requests", []panel{
		{"Requests", "Of clients, by status.", units.RequestsPerSecond, []query{
			{"{{status}}", `sum by (status) (rate(hexorders_http_request_duration_seconds_count{` + api + `}[$__rate_interval]))`},
		}},
		{"Errors", "Share of the requests: by the service (5xx), by the client (4xx), refused for overload.", units.PercentUnit, []query{
			{"5xx", share(`hexorders_http_request_duration_seconds_count`, api, `status=~"5.."`)},
			{"4xx", share(`hexorders_http_request_duration_seconds_count`, api, `status=~"4.."`)},
			{"overload", `(` + rate(`hexorders_http_shed_total`) + ` or vector(0))` +
				` / sum(rate(hexorders_http_request_duration_seconds_count{` + api + `}[$__rate_interval]))`},
		}},
		{"Duration", "From a request's header to the end of its response.", units.Seconds, []query{
			{"50 %", quantile("0.5", `hexorders_http_request_duration_seconds`, api)},
			{"95 %", quantile("0.95", `hexorders_http_request_duration_seconds`, api)},
			{"99 %", quantile("0.99", `hexorders_http_request_duration_seconds`, api)},
		}},
	}},
	{"Taking orders", []panel{
		{"Saves", "By result. A conflict is a lost race, and is retried.", units.RequestsPerSecond, []query{
			{"{{result}}", `sum by (result) (rate(hexorders_saves_total{job="hexorders"}[$__rate_interval]))`},
		}},
		{"Conflicts", "Share of the saves that lost a race for their order.", units.PercentUnit, []query{
			{"conflicts", share(`hexorders_saves_total`, `job="hexorders"`, `result="conflict"`)},
		}},
		{"Saves in a MongoDB transaction", "Near HEXORDERS_MONGODB_MAX_BATCH the store is the limit.", units.Short, []query{
			{"mean", `sum(rate(hexorders_commit_saves_sum{job="hexorders"}[$__rate_interval]))` +
				` / sum(rate(hexorders_commit_saves_count{job="hexorders"}[$__rate_interval]))`},
			{"99 %", quantile("0.99", `hexorders_commit_saves`, `job="hexorders"`)},
		}},
	}},
	{"Publishing", []panel{
		{"Age of the oldest unpublished event", "0 when there is none.", units.Seconds, []query{
			{"age", `max(hexorders_relay_lag_seconds{job="hexorders"})`},
		}},
		{"Unpublished events", "With MongoDB an estimate.", units.Short, []query{
			{"events", `max(hexorders_relay_lag_messages{job="hexorders"})`},
		}},
		{"Published", "Events that the broker acknowledged.", units.EventsPerSecond, []query{
			{"published", rate(`hexorders_relay_published_total`)},
			{"sent again after parking", rate(`hexorders_relay_redelivered_total`)},
		}},
	}},
	{"Views", []panel{
		{"Age of the views", "Time since they last included every event.", units.Seconds, []query{
			{"age", `max(hexorders_view_age_seconds{job="hexorders"})`},
		}},
		{"Events", "That took effect, that were duplicates, and that were buffered because an earlier one was missing.",
			units.EventsPerSecond, []query{
				{"applied", rate(`hexorders_view_applied_total`)},
				{"duplicates", rate(`hexorders_view_duplicates_total`)},
				{"buffered", rate(`hexorders_view_buffered_total`)},
			}},
		{"Batches read again", "Another process committed first.", units.EventsPerSecond, []query{
			{"conflicts", rate(`hexorders_view_conflicts_total`)},
		}},
	}},
	{"Broker", []panel{
		{"Failed attempts", "To publish, and to read the topic or commit a batch. Each is retried.", units.EventsPerSecond, []query{
			{"publish", rate(`hexorders_relay_publish_errors_total`)},
			{"read or commit", rate(`hexorders_view_errors_total`)},
		}},
		{"Refused and foreign messages", "Refused: an order is parked. Foreign: another program writes to the topic.",
			units.EventsPerSecond, []query{
				{"refused", rate(`hexorders_relay_refused_total`)},
				{"foreign", rate(`hexorders_view_foreign_total`)},
			}},
		{"Stalled consumers", "Replaced in the last 15 minutes, because they got no records.", units.Short, []query{
			{"stalls", `sum(increase(hexorders_consumer_stalls_total{job="hexorders"}[15m]))`},
		}},
	}},
	{"Processes", []panel{
		{"Processor", "1 is one processor that does nothing else.", units.Short, []query{
			{"{{instance}}", `rate(process_cpu_seconds_total{job="hexorders"}[$__rate_interval])`},
		}},
		{"Memory", "", units.BytesIEC, []query{
			{"{{instance}}", `process_resident_memory_bytes{job="hexorders"}`},
		}},
		{"Goroutines", "", units.Short, []query{
			{"{{instance}}", `go_goroutines{job="hexorders"}`},
		}},
		{"Open files", "Share of those that the process may open, connections included.", units.PercentUnit, []query{
			{"{{instance}}", `process_open_fds{job="hexorders"} / process_max_fds{job="hexorders"}`},
		}},
	}},
}

// rate is how often something is counted a second, by all processes.
func rate(counter string) string {
	return `sum(rate(` + counter + `{job="hexorders"}[$__rate_interval]))`
}

// share is the part of what is counted that has another label too.
func share(counter, labels, part string) string {
	return `(sum(rate(` + counter + `{` + labels + `, ` + part + `}[$__rate_interval])) or vector(0))` +
		` / sum(rate(` + counter + `{` + labels + `}[$__rate_interval]))`
}

func quantile(q, histogram, labels string) string {
	return `histogram_quantile(` + q + `, sum by (le) (rate(` + histogram + `_bucket{` + labels + `}[$__rate_interval])))`
}
