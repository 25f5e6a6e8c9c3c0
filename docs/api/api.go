// Package api carries the description of the HTTP API into the program, so that a service answers with the very file
// that stands beside it.
package api

import _ "embed"

// OpenAPI is openapi.yaml. Nobody may change it.
//
//go:embed openapi.yaml
var OpenAPI []byte
