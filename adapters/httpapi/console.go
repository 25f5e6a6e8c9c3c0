package httpapi

import (
	"slices"

	"github.com/gin-gonic/gin"
)

// The console is another adapter's handler. It stands behind the same guards as the API (strange hosts, pages of other
// origins), and without the limits of time and rate: its streams last, and it bounds its own work.

var consolePatterns = []string{"/console", "/console/*page"}

func (a *api) serveConsole(router *gin.Engine) {
	if a.Console != nil {
		for _, pattern := range consolePatterns {
			router.Any(pattern, gin.WrapH(a.Console))
		}
	}
}

func isConsole(c *gin.Context) bool { return slices.Contains(consolePatterns, c.FullPath()) }
