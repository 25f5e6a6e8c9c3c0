package small

func double(n int) int {
	return n + n
}
