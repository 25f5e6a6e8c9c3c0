package beside

import "testing"

func TestBeside(t *testing.T) {
	if Word != "beside" {
		t.Error("the word is", Word)
	}
}
