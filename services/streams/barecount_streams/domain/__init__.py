"""Pure: what a log record means to outsiders, and what a stream's position is."""
