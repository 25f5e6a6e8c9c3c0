package app

import (
	_ "github.com/gin-gonic/gin"
	_ "golang.org/x/sync/errgroup"
	_ "hexorders/adapters/inproc"
	_ "hexorders/ports"
)
