package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"oss.terrastruct.com/d2/d2graph"
	"oss.terrastruct.com/d2/lib/geo"
	"oss.terrastruct.com/d2/lib/label"
	"oss.terrastruct.com/util-go/go2"
)

// placed is a layout for pictures whose boxes have a place by meaning, as those of a hexagon do: each box stands where its
// source says, by left, top, width and height. Arrows are straight.
func placed(_ context.Context, g *d2graph.Graph) error {
	for _, o := range g.Objects {
		left, top, width, height := o.Left, o.Top, o.WidthAttr, o.HeightAttr
		if left == nil || top == nil || width == nil || height == nil {
			return fmt.Errorf("%s has no place: it needs left, top, width and height", o.AbsID())
		}
		*o.Box = *geo.NewBox(geo.NewPoint(number(left), number(top)), number(width), number(height))
		position := label.InsideMiddleCenter
		switch {
		case o.IsContainer():
			position = label.InsideTopCenter
		case o.HasOutsideBottomLabel():
			position = label.OutsideBottomCenter
		}
		o.LabelPosition = cmp.Or(o.LabelPosition, go2.Pointer(position.String()))
	}
	for _, e := range g.Edges {
		e.Route = straight(e.Src.Box, e.Dst.Box)
		e.TraceToShape(e.Route, 0, 1)
		e.LabelPosition = go2.Pointer(label.InsideMiddleCenter.String())
	}
	return nil
}

func number(s *d2graph.Scalar) float64 {
	n, _ := strconv.ParseFloat(s.Value, 64) // D2 has checked that it is a number
	return n
}

// straight is a horizontal or vertical line where the boxes face each other, and one from centre to centre elsewhere.
func straight(from, to *geo.Box) []*geo.Point {
	const enough = 20
	a, b := from.Center(), to.Center()
	if low, high := max(from.TopLeft.X, to.TopLeft.X), min(from.TopLeft.X+from.Width, to.TopLeft.X+to.Width); high-low > enough {
		a.X, b.X = (low+high)/2, (low+high)/2
	} else if low, high := max(from.TopLeft.Y, to.TopLeft.Y), min(from.TopLeft.Y+from.Height, to.TopLeft.Y+to.Height); high-low > enough {
		a.Y, b.Y = (low+high)/2, (low+high)/2
	}
	return []*geo.Point{a, b}
}
