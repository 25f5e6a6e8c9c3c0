package small

import "testing"

func TestDouble(t *testing.T) {
	if got := double(2); got != 4 {
		t.Errorf("double is %d", got)
	}
	if got := double(-1); got != -2 {
		t.Errorf("double of -1 is %d", got)
	}
}
