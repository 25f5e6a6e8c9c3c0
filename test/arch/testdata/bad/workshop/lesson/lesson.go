package main

import (
	_ "github.com/google/uuid"
	_ "github.com/pelletier/go-toml/v2"

	_ "hexorders/app"
)

func main() {}
