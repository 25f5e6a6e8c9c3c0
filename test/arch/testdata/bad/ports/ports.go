package ports

import (
	_ "context"
	_ "github.com/google/uuid"
	_ "hexorders/adapters/inproc"
	_ "hexorders/core/order"
)
