//go:build tools

// Package peers pins Jaeger for Tarsier's tests; `go install` refuses modules with replaces.
package peers

import _ "github.com/jaegertracing/jaeger/cmd/jaeger"
