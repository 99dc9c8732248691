"""Pure: parse, validate, merge, diff, effective manifest."""
