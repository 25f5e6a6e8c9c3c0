package logtest

import (
	"hexorders/adapters/inproc"
	"hexorders/ports/porttest/red"
)

func Checks() (exported []red.Check[inproc.Log]) {
	for _, c := range checks {
		exported = append(exported, red.Check[inproc.Log]{Name: c.name, Prove: c.prove})
	}
	return exported
}
