package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"
)

// report is everything that a run has found.
type report struct {
	Machine []fact
	Began   time.Time
	Took    time.Duration
	Load    []string // the load average at the start, and after each experiment
	Rounds  int
	Quick   bool
	Command string
	Rows    []tableRow
	Plots   []plot
}

// Make is the command that writes the page.
func (r *report) Make() string {
	for _, e := range optional {
		if strings.Contains(r.Command, e.name) {
			return "make bench-peers"
		}
	}
	return "make bench"
}

// tableRow is a line, in words.
type tableRow struct{ What, Value, Peer, PeerValue, Ratio, Spread, Aim string }

func (r *report) add(from result) {
	for _, l := range from.lines {
		value := from.figure(l.of, l.value)
		row := tableRow{What: l.title, Value: amount(value.median, l.unit), Aim: l.aim.text}
		var ratio spread
		if l.against == "" {
			row.Spread = amount(value.low, l.unit) + " – " + amount(value.high, l.unit)
		} else {
			ratio = from.ratio(l)
			row.Peer, row.PeerValue = l.against, amount(from.figure(l.against, l.value).median, l.unit)
			row.Ratio = fmt.Sprintf("%.2f", ratio.median)
			row.Spread = fmt.Sprintf("%.2f – %.2f", ratio.low, ratio.high)
		}
		if l.aim.met != nil {
			row.Aim += map[bool]string{true: ": met", false: ": missed"}[l.aim.met(value.median, ratio.median)]
		}
		r.Rows = append(r.Rows, row)
	}
	for _, c := range from.charts {
		i := slices.IndexFunc(r.Plots, func(p plot) bool { return p.name == c.name })
		if i < 0 {
			i = len(r.Plots)
			r.Plots = append(r.Plots, plot{chart: c})
		}
		for _, side := range from.sides {
			r.Plots[i].bars = append(r.Plots[i].bars, bar{from.group, side, from.figure(side, c.value)})
		}
	}
}

// print writes the table for a terminal.
func (r *report) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\tHEXORDERS\tPEER\t\tRATIO\tSPREAD\tAIM")
	for _, row := range r.Rows {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.What, row.Value, row.PeerValue, row.Peer,
			row.Ratio, row.Spread, row.Aim)
	}
	_, _ = fmt.Fprintf(table, "\nload average %s; %s\n", strings.Join(r.Load, ", "), r.Took.Round(time.Second))
	return table.Flush()
}

//go:embed page.md
var page string

// write makes the page, and its plots in a folder of the same name.
func (r *report) write(to string) error {
	folder := strings.TrimSuffix(to, filepath.Ext(to))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range r.Plots {
		if err := os.WriteFile(filepath.Join(folder, p.File()), p.svg(), 0o644); err != nil {
			return err
		}
	}
	form, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := form.Execute(&text, struct {
		*report
		Folder string
	}{r, filepath.Base(folder)}); err != nil {
		return err
	}
	return os.WriteFile(to, text.Bytes(), 0o644)
}

// amount is a figure with as many digits as mean something.
func amount(value float64, unit string) string {
	text := thousands(value)
	if value < 100 {
		text = strconv.FormatFloat(value, 'g', 3, 64)
	}
	return strings.TrimSpace(text + " " + unit)
}

func thousands(value float64) string {
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
