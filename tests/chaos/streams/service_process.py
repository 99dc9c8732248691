"""The streams service as a process that a test may kill: `python -m tests.chaos.streams.service_process`, told by its environment."""

from __future__ import annotations

from barecount_streams.app import main

if __name__ == "__main__":
    main()
