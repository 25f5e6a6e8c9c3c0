package order

import (
	_ "context"
	_ "encoding/json"
	_ "errors"
	_ "github.com/google/uuid"
	_ "hexorders/ports"
)
