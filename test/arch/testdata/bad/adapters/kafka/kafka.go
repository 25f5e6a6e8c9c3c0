package kafka

import (
	_ "hexorders/adapters/eventjson"
	_ "hexorders/cmd/hexorders"
)
