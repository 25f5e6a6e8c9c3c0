package exercise

import (
	_ "github.com/google/uuid"
	_ "hexorders/adapters/eventjson"
	_ "hexorders/adapters/memory"
)
