package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
)

// chart is what a plot shows of each side of a result.
type chart struct {
	name  string // of the file
	title string
	value func(sample) float64
}

// plot is a chart drawn: groups of bars side by side, a bar for each side in it.
type plot struct {
	chart
	bars []bar
}

// bar is the median of a side, with a whisker from the smallest to the largest.
type bar struct {
	group, side string
	spread
}

func (p plot) Title() string { return p.title }
func (p plot) File() string  { return p.name + ".svg" }

// Measures of a chart, in pixels.
const (
	width, height = 860, 340
	left, top     = 70, 50
	bottom        = 60
)

var colours = []string{"#0b6e4f", "#c8553d", "#588b8b", "#f2a65a"}

// svg draws it.
func (p plot) svg() []byte {
	var groups, sides []string
	highest := 0.0
	for _, b := range p.bars {
		if !slices.Contains(groups, b.group) {
			groups = append(groups, b.group)
		}
		if !slices.Contains(sides, b.side) {
			sides = append(sides, b.side)
		}
		highest = max(highest, b.high)
	}
	step := niceStep(highest)
	scale := (height - top - bottom) / (step * math.Ceil(highest/step))
	y := func(value float64) float64 { return height - bottom - value*scale }
	groupWidth := float64(width-left-20) / float64(len(groups))
	barWidth := groupWidth * 0.8 / float64(len(sides))

	var b bytes.Buffer
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/><text x="%d" y="20" font-size="15">%s</text>`+"\n",
		width, height, left, html.EscapeString(p.title))
	for value := 0.0; value <= highest+step*0.99; value += step {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, width-20, y(value), y(value), left-6, y(value)+4, amount(value, ""))
	}
	for i, group := range groups {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", left+(float64(i)+0.5)*groupWidth,
			height-bottom+18, html.EscapeString(group))
	}
	for i, side := range sides {
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			left+i*200, height-24, colours[i%len(colours)], left+i*200+18, height-14, html.EscapeString(side))
	}
	for _, bar := range p.bars {
		group, side := slices.Index(groups, bar.group), slices.Index(sides, bar.side)
		x := left + (float64(group)+0.1)*groupWidth + float64(side)*barWidth
		middle := x + barWidth/2
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x, y(bar.median),
			barWidth*0.95, bar.median*scale, colours[side%len(colours)])
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#333"/>`, middle, middle, y(bar.low), y(bar.high))
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="11">%s</text>`+"\n", middle,
			y(bar.high)-4, amount(bar.median, ""))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// niceStep is 1, 2 or 5 times a power of ten, so that a scale has four to ten lines.
func niceStep(highest float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(max(highest, 1e-9))))
	switch leading := highest / power; {
	case leading < 2:
		return power / 5
	case leading < 5:
		return power / 2
	default:
		return power
	}
}
