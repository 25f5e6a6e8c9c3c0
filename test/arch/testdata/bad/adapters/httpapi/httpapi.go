package httpapi

import (
	_ "github.com/gin-gonic/gin"
	_ "hexorders/adapters/eventjson"
	_ "hexorders/app"
)
