package api

import (
	_ "embed"
	_ "fmt"
	_ "hexorders/core/order"
)
