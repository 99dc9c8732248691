"""The ledger: one record for everything that happened, proven."""
