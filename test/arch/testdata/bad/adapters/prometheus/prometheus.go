package prometheus

import (
	_ "hexorders/adapters/eventjson"
	_ "hexorders/adapters/memory"
	_ "hexorders/app"
)
