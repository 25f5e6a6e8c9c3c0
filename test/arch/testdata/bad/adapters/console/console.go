package console

import (
	_ "github.com/google/uuid"
	_ "hexorders/adapters/memory"
	_ "hexorders/app"
)
