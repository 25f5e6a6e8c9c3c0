package bson

import (
	_ "hexorders/core/order"
)
