"""Pure: from source records to leaves, from leaves to a ledger, and what a verifier recomputes. No IO, no clock."""
