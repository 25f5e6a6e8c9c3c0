// Package docs is the operating manual, which the console shows beside an alert.
package docs

import _ "embed"

//go:embed operate.md
var Operate []byte
