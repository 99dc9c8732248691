"""OpenLineage events and the graph over them."""
