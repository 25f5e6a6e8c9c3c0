package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// jsonFlag is for every command that prints a table.
func jsonFlag(cmd *cobra.Command, asJSON *bool) *cobra.Command {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON lines")
	return cmd
}

// printRows prints a table, or with asJSON a line of JSON for each row. Header and cells are separated by tabs; instead of
// an empty table it prints the text for none.
func printRows[T any](out io.Writer, asJSON bool, header, none string, rows []T, cells func(T) string) error {
	if asJSON {
		for _, row := range rows {
			if err := printJSON(out, row); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, header)
	for _, row := range rows {
		_, _ = fmt.Fprintln(table, cells(row))
	}
	return table.Flush()
}

// parkedRow is a parked order as `outbox parked` and `views parked` print it.
type parkedRow struct {
	Order       string `json:"order"`
	FromVersion int    `json:"fromVersion"`
	Events      int    `json:"events"`
	Since       string `json:"since"`
	Retry       *bool  `json:"retry,omitempty"` // of the outbox: whether the relay was asked to try again
	Reason      string `json:"reason"`
}
