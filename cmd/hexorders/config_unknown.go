package main

import (
	"fmt"
	"slices"
	"strings"
)

// unknownVariables warns of variables that nothing reads: a typing error there is silent otherwise.
func unknownVariables(known []variable, environment []string) (warnings []string) {
	names := make([]string, len(known))
	for i, v := range known {
		names[i] = v.name
	}
	for name := range secrets {
		names = append(names, name+"_FILE")
	}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix+"_") || slices.Contains(names, name) || notForUs(name) {
			continue
		}
		warning := fmt.Sprintf("nothing reads the variable %s: see `hexorders config`", name)
		if near, distance := nearest(name, names); distance <= 5 {
			warning = fmt.Sprintf("nothing reads the variable %s: did you mean %s?", name, near)
		}
		warnings = append(warnings, warning)
	}
	slices.Sort(warnings)
	return warnings
}

// notForUs knows the variables that others set beside ours: the tests, and Kubernetes for a service that is called
// hexorders (HEXORDERS_SERVICE_HOST, HEXORDERS_PORT_8080_TCP, ...).
func notForUs(name string) bool {
	return strings.HasPrefix(name, prefix+"_TEST_") || strings.HasPrefix(name, prefix+"_E2E_") ||
		strings.HasPrefix(name, prefix+"_SERVICE_") ||
		name == prefix+"_PORT" || strings.HasPrefix(name, prefix+"_PORT_")
}

func nearest(word string, words []string) (near string, distance int) {
	distance = len(word) + 1
	for _, candidate := range words {
		if d := editDistance(word, candidate); d < distance {
			near, distance = candidate, d
		}
	}
	return near, distance
}

// editDistance is Levenshtein's: how many bytes to put in, take out or change to make one word of the other.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
