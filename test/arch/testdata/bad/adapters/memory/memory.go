package memory

import (
	_ "hexorders/adapters/mongodb"
	_ "hexorders/app"
	_ "hexorders/ports/porttest"
)
