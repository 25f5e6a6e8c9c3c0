package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkOrder is one order on its way: a request, its command and save, its message published and processed.
func BenchmarkOrder(b *testing.B) {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer receiver.Close()
	for _, share := range []string{"off", "0", "0.01", "1"} {
		b.Run(share, func(b *testing.B) {
			var telemetry *Telemetry
			if share != "off" {
				b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
				b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
				b.Setenv("OTEL_TRACES_SAMPLER_ARG", share)
				b.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
				b.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
				var err error
				if telemetry, err = Start(b.Context(), Options{}); err != nil {
					b.Fatal(err)
				}
			}
			h := build(b, telemetry)
			b.ReportAllocs()
			for b.Loop() {
				h.request("POST", "/orders")
				m := message(h.last, time.Now())
				h.publish(m)
				h.deliver(m)
			}
			h.close()
		})
	}
}
