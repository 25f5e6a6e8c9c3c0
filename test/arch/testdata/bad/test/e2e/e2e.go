package e2e

import (
	_ "hexorders/cmd/other"
	_ "hexorders/ports/porttest"
)
