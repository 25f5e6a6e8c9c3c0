package main

import (
	"slices"
	"strings"
)

const (
	roleAPI         = "api"
	roleRelay       = "relay"
	roleProjections = "projections"
)

var knownRoles = []string{roleAPI, roleRelay, roleProjections}

func checkRoles(roles []string) error {
	if len(roles) == 0 {
		return usagef("no role: give --roles one or more of %s", strings.Join(knownRoles, ", "))
	}
	for _, role := range roles {
		if !slices.Contains(knownRoles, role) {
			return usagef("unknown role %q: known are %s", role, strings.Join(knownRoles, ", "))
		}
	}
	return nil
}

func (s *Service) has(role string) bool { return slices.Contains(s.roles, role) }
