package main

import (
	_ "hexorders/app"
	_ "hexorders/cmd/other"
	_ "hexorders/test/e2e"
)

func main() {}
