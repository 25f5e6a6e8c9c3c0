package main

import (
	"errors"
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
		RunE:  func(cmd *cobra.Command, _ []string) error { return printVersion(cmd.OutOrStdout()) },
	}
}

func printVersion(out io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this binary carries no build information: build it with `go build`, with modules")
	}
	_, err := fmt.Fprintln(out, versionOf(info))
	return err
}

// versionOf is what the build has recorded, without what it has not.
func versionOf(info *debug.BuildInfo) string {
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
	return line
}
