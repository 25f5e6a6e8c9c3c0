package main

import (
	"fmt"
	"slices"
	"strings"
)

const (
	roleAPI   = "api"
	roleRelay = "relay"
	roleViews = "views"
)

var knownRoles = []string{roleAPI, roleRelay, roleViews}

// parseRoles returns the roles that --roles names. A warning is about a name that has changed.
func parseRoles(given []string) (roles, warnings []string, err error) {
	if len(given) == 0 {
		return nil, nil, usagef("no role: give --roles one or more of %s", strings.Join(knownRoles, ", "))
	}
	for _, role := range given {
		if role == oldRoleViews {
			role = roleViews
			warnings = []string{fmt.Sprintf("the role %s is called %s now; the next version does not accept the old name",
				oldRoleViews, roleViews)}
		}
		if !slices.Contains(knownRoles, role) {
			return nil, nil, usagef("unknown role %q: known are %s", role, strings.Join(knownRoles, ", "))
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return roles, warnings, nil
}

func (s *Service) has(role string) bool { return slices.Contains(s.roles, role) }
