package eventjson

import (
	_ "hexorders/app"
	_ "hexorders/core/order"
)
