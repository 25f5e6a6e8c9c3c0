package main

import (
	"oss.terrastruct.com/d2/d2target"
	"oss.terrastruct.com/util-go/go2"
)

// D2 has two palettes in one picture, a light and a dark one, and names a colour by its slot. Each slot has one meaning here.
const (
	text, quiet, paper   = "N1", "N2", "N7"
	line, faint          = "B1", "B2"
	coreFill, coreLine   = "AB4", "AB5"
	appFill, houseFill   = "B4", "B5"
	adapterFill          = "B6"
	goodFill, goodLine   = "AA5", "B3"
	wrongFill, wrongLine = "AA4", "AA2"
)

// fills and lines of the classes in classes.d2.
var classes = map[string]struct{ fill, line string }{
	"client":  {paper, line},
	"core":    {coreFill, coreLine},
	"app":     {appFill, line},
	"adapter": {adapterFill, faint},
	"state":   {adapterFill, line},
	"good":    {goodFill, goodLine},
	"wrong":   {wrongFill, wrongLine},
	"port":    {paper, line},
	"house":   {houseFill, line},
	"group":   {paper, faint},
	"border":  {houseFill, line},
	"note":    {paper, paper},
	"lost":    {paper, wrongLine},
}

func palette(colours map[string]string) *d2target.ThemeOverrides {
	at := func(slot string) *string { return go2.Pointer(colours[slot]) }
	return &d2target.ThemeOverrides{
		N1: at(text), N2: at(quiet), N3: at(quiet), N4: at(faint), N5: at(adapterFill), N6: at(adapterFill), N7: at(paper),
		B1: at(line), B2: at(faint), B3: at(goodLine), B4: at(appFill), B5: at(houseFill), B6: at(adapterFill),
		AA2: at(wrongLine), AA4: at(wrongFill), AA5: at(goodFill), AB4: at(coreFill), AB5: at(coreLine),
	}
}

var (
	light = palette(map[string]string{
		text: "#1f2328", quiet: "#424a53", paper: "#ffffff", line: "#0550ae", faint: "#818b98",
		coreFill: "#fff1cc", coreLine: "#9a6700", appFill: "#d4ebff", houseFill: "#eef6ff", adapterFill: "#f3f5f7",
		goodFill: "#dafbe1", goodLine: "#1a7f37", wrongFill: "#ffebe9", wrongLine: "#cf222e",
	})
	dark = palette(map[string]string{
		text: "#f0f6fc", quiet: "#c3ccd6", paper: "#0d1117", line: "#79b8ff", faint: "#7d8590",
		coreFill: "#4a3a10", coreLine: "#e3b341", appFill: "#1b3a5c", houseFill: "#121d2f", adapterFill: "#1c2128",
		goodFill: "#12351f", goodLine: "#3fb950", wrongFill: "#4b1a1c", wrongLine: "#ff7b72",
	})
)
