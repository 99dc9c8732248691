"""The process of one slot: it alone loads DuckDB, pyarrow and deltalake, and it holds no key and no password.

It talks with the worker over one socket, one JSON object a line (`wire.py`). It ends when the socket closes.
"""
