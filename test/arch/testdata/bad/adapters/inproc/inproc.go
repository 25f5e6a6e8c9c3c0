package inproc

import (
	_ "sync"
)
