package porttest

import (
	_ "hexorders/app"
	_ "hexorders/ports"
	_ "testing"
)
