package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary was built from",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return fmt.Errorf("this binary carries no build information: build it with `go build`, with modules")
			}
			return printVersion(cmd.OutOrStdout(), info)
		},
	}
}

// printVersion prints what the build has recorded, and leaves out what it has not.
func printVersion(out io.Writer, info *debug.BuildInfo) error {
	setting := map[string]string{}
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	line := "hexorders " + info.Main.Version
	if revision := setting["vcs.revision"]; revision != "" {
		line += " " + revision
		if setting["vcs.modified"] == "true" {
			line += " with changes"
		}
	}
	line += ", " + info.GoVersion + " " + setting["GOOS"] + "/" + setting["GOARCH"]
	if setting["CGO_ENABLED"] == "0" {
		line += ", without cgo and so without Kafka"
	}
	_, err := fmt.Fprintln(out, line)
	return err
}
