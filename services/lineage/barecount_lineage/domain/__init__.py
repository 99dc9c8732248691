"""Pure: from the life of runs to OpenLineage events, and from edges to a graph. No IO, no clock."""
