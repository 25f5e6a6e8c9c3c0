package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// The names of the version before, when each view had a consumer of its own. They still work, say what they are called
// now, and stand in no help and no completion. The next version drops this file.

const oldRoleViews = "projections"

func oldCommands() []*cobra.Command {
	consumers := &cobra.Command{
		Use: "consumers", Short: "The old name of views", Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	consumers.AddCommand(
		oldName(viewsStatusCommand(), "status", "hexorders views status", 0),
		oldName(viewsParkedCommand(), "parked", "hexorders views parked", 0),
		oldName(viewsRetryCommand(), "retry VIEW ORDER", "hexorders views retry ORDER", 1),
	)
	replay := oldName(viewsRebuildCommand(), "replay VIEW", "hexorders views rebuild", 1)
	consumers.Hidden = true
	return []*cobra.Command{consumers, replay}
}

// oldName makes a command answer to an old use too. Its first arguments, which named a view, mean nothing any more.
func oldName(cmd *cobra.Command, use, now string, dropped int) *cobra.Command {
	check, run := cmd.Args, cmd.RunE
	cmd.Use, cmd.Hidden = use, true
	rest := func(args []string) []string { return args[min(dropped, len(args)):] }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < dropped {
			return usagef("`%s` is called `%s` now", cmd.CommandPath(), now)
		}
		return check(cmd, rest(args))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scope := ""
		if dropped > 0 {
			scope = " and is for all views"
		}
		printWarnings(cmd.ErrOrStderr(), []string{fmt.Sprintf(
			"`%s` is called `%s` now%s; the next version does not accept the old name", cmd.CommandPath(), now, scope)})
		return run(cmd, rest(args))
	}
	return cmd
}
