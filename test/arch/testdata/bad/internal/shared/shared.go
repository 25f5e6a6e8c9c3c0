package shared

import (
	_ "strings"
)
