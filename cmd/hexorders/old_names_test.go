package main

import (
	"strings"
	"testing"
)

func TestTheOldNamesWorkAndSayTheNewOnes(t *testing.T) {
	published(t)
	const rebuilt = "the views are rebuilt from 3 events, and readers see the new ones\n"
	for _, x := range []struct{ args, now, out string }{
		{"replay timeline", "hexorders views rebuild", rebuilt},
		{"replay order-summary --restart", "hexorders views rebuild", rebuilt},
		{"consumers status", "hexorders views status", "GENERATION"},
		{"consumers parked", "hexorders views parked", "order-2"},
	} {
		out, errOut, code := runCommand(t, strings.Fields(x.args)...)
		if code != exitOK || !strings.HasPrefix(errOut, "warning: `hexorders ") || strings.Count(errOut, "warning:") != 1 ||
			!strings.Contains(errOut, "` is called `"+x.now+"") || !strings.Contains(out, x.out) {
			t.Errorf("hexorders %s: exit code %d\n%s%swant %s and a warning that names `%s`", x.args, code, out, errOut, x.out, x.now)
		}
	}
	_, errOut, code := runCommand(t, "consumers", "retry", "timeline", "order-1")
	if code != exitFailed || !strings.Contains(errOut, "`hexorders views retry ORDER`") ||
		!strings.Contains(errOut, "order order-1 is not parked") {
		t.Errorf("hexorders consumers retry: exit code %d, %s", code, errOut)
	}
}

func TestTheOldNamesAreHidden(t *testing.T) {
	for _, args := range []string{"--help", "__complete ", "__complete con", "__complete rep"} {
		out, _, code := runCommand(t, strings.Split(args, " ")...)
		if code != exitOK || strings.Contains(out, "consumers") || strings.Contains(out, "replay") {
			t.Errorf("hexorders %s: exit code %d\n%s", args, code, out)
		}
	}
	if out, _, _ := runCommand(t, "__complete", ""); !strings.Contains(out, "views\t") {
		t.Errorf("completion does not know views: the search is broken\n%s", out)
	}
	if out, _, _ := runCommand(t, "serve", "--help"); strings.Contains(out, oldRoleViews) {
		t.Errorf("the help of serve names an old role\n%s", out)
	}
}

func TestTheOldRoleIsTheNewOne(t *testing.T) {
	roles, warnings, err := parseRoles([]string{"api", "projections", "views"})
	if err != nil || strings.Join(roles, ",") != "api,views" || len(warnings) != 1 ||
		!strings.Contains(warnings[0], "is called views now") {
		t.Errorf("roles %v, warnings %q, error %v", roles, warnings, err)
	}
	if _, warnings, err := parseRoles(knownRoles); err != nil || len(warnings) > 0 {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
}
