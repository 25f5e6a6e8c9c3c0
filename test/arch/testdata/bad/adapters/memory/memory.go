package memory

import (
	_ "hexorders/adapters/mongodb"
	_ "hexorders/app"
	_ "hexorders/docs/api"
	_ "hexorders/ports/porttest"

	_ "go.opentelemetry.io/otel/trace"
)
