package telemetry

import (
	_ "hexorders/adapters/eventjson"
)
