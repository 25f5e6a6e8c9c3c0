package mongodb

import (
	_ "hexorders/adapters/eventjson"
	_ "hexorders/adapters/mongodb/bson"
)
