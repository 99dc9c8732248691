"""Executes tasks: DuckDB in a cage, Delta Lake behind a fence."""
