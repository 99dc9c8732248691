"""Builds this service's read model anew, as a process of its own: see barecount_readmodel's rebuild."""

from __future__ import annotations

from barecount_readmodel import rebuild_main

from .projection import VIEWS

if __name__ == "__main__":
    rebuild_main("command", VIEWS)
