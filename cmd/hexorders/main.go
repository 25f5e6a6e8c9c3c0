// Command hexorders is the order service and the tools around it.
//
// It is the only package that knows every adapter. Start reading at stores.go and brokers.go, the tables of adapters;
// wire.go puts the application between them, serve.go runs it, config.go reads the settings. Every other command has a
// file of its name.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes. A second signal ends the process at once, with the code that a shell gives it: 130 for SIGINT, 143 for
// SIGTERM.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // a command or a setting is wrong: trying again will not help
)

func main() {
	limitMemory(memlimit.FromCgroup)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, out, errOut io.Writer) (exitCode int) {
	root := rootCommand()
	root.SetArgs(args)
	printed := &watchedOutput{to: visibleOutput{out}}
	root.SetOut(printed)
	root.SetErr(errOut)
	refuseUnknownTopics(root)
	err := root.ExecuteContext(ctx)
	if err == nil && printed.err != nil && !errors.Is(printed.err, syscall.EPIPE) { // a reader that has left has seen enough
		err = fmt.Errorf("print: %w", printed.err)
	}
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(visibleOutput{errOut}, "hexorders:", err)
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := serveCommand()
	root.Use = "hexorders"
	root.Short = "An order service whose every event arrives"
	root.Long = `An order service: REST in, events out, each committed event published in order and none lost.

Without a command it serves, as ` + "`hexorders serve`" + ` does. Settings come from the environment; ` + "`hexorders config`" + `
lists them.`
	root.Args = noCommand
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w: %s", err, flagHint(cmd, err))
	})
	if info, ok := debug.ReadBuildInfo(); ok {
		root.Version = versionOf(info)
		root.SetVersionTemplate("{{.Version}}\n")
	}
	root.AddCommand(serveCommand(), eventsCommand(), outboxCommand(), viewsCommand(), verifyCommand(), demoCommand(),
		doctorCommand(), configCommand(), versionCommand())
	root.AddCommand(oldCommands()...)
	return root
}

// watchedOutput remembers the first error of printing: much of what prints, cobra's help too, does not look at it.
type watchedOutput struct {
	to  io.Writer
	err error
}

func (o *watchedOutput) Write(text []byte) (int, error) {
	n, err := o.to.Write(text)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// refuseUnknownTopics makes errors of what cobra answers with the help of another command: `help bogus`, `completion tcsh`.
// The commands take the output over, so it has to be set before.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Run = nil
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				topic, rest, err := cmd.Root().Find(args)
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					return noCommand(topic, rest)
				}
				topic.InitDefaultHelpFlag()
				return topic.Help()
			}
		case "completion":
			cmd.Args = noCommand
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// flagHint names the flag that was meant, if there is a similar one.
func flagHint(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if name, distance := nearest(unknown.GetSpecifiedName(), known); distance <= 2 {
			return "did you mean --" + name + "?"
		}
	}
	return fmt.Sprintf("see `%s --help`", cmd.CommandPath())
}

// usageError is the caller's mistake.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// noCommand is for commands that only have others below them: what is left over is one that does not exist.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2 // as cobra has it for the commands that it finds missing itself
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		hint = "did you mean " + strings.Join(similar, " or ") + "?"
	}
	return usagef("unknown command %q for %q: %s", args[0], cmd.CommandPath(), hint)
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("`%s` takes no arguments, got %q: see `%[1]s --help`", cmd.CommandPath(), args[0])
	}
	return nil
}
