package readside

import "hexorders/ports"

type status struct{}

// Status may be called at any time, on any goroutine.
func (e *Engine) Status() ports.ViewsStatus { return ports.ViewsStatus{} }
