package readside

import "hexorders/ports"

// reportGaps tells operators that messages are missing for ever.
func (c *consumer) reportGaps(gaps []ports.Gap) {
	for _, gap := range gaps {
		c.options.Logger.Error("events are missing from the views for ever: run `hexorders views rebuild`",
			"reason", gap.Reason, "missing", gap.Detail)
	}
}
