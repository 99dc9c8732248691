"""Every metric of this service, one list for an operator."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

LEAVES = Gauge("barecount_ledger_leaves", "Leaves that the ledger's log holds")
PUBLISHED = Gauge("barecount_ledger_published_leaves", "Leaves under the newest checkpoint")
TAMPERED = Gauge("barecount_ledger_tampered", "1: the ledger contradicts itself; nothing is appended or signed")
SIGNED = Counter("barecount_ledger_checkpoints_total", "Checkpoints signed by this process")
UNREADABLE = Counter("barecount_ledger_unreadable_total", "Source records that became leaves of type `unreadable`")
