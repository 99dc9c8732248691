"""The outside world of the worker: files, DuckDB, Delta Lake."""
