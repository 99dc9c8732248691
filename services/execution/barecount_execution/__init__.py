"""Runs: admission, queue, leases, attempts, tickets, results."""
