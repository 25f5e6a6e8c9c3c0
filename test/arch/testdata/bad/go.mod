// A house that breaks every rule, for the test that finds the breaches. It is never built.
module hexorders

go 1.26.0
