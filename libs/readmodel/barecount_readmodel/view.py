"""A view: one question asked of the read model, as tables and the rule that fills them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import asyncpg
from barecount_eventlog import Recorded

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class View(Protocol):
    """One file in views/.

    DDL: CREATE TABLE and CREATE INDEX with unqualified names; it runs once in the schema of the view set. A table with a column
    `tenant text not null` gets row-level security. INDEXES, if there are any: CREATE INDEX of those that only questions need and `apply`
    does not; a rebuild makes them when the rows are there. TOPICS: whose records `apply` wants. VERSION rises with every change of DDL,
    INDEXES or apply.
    A rebuild hands views to other processes, so they go through pickle.
    """

    NAME: str
    VERSION: int
    DDL: str
    TOPICS: tuple[str, ...]

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        """Applies one batch of one topic partition, in offset order, inside the projector's transaction (open none here).

        Every record parses. An error rolls the batch back; it is tried again until it succeeds, so nothing is ever skipped.
        """
        ...


def schema_of(service: str, views: Sequence[View]) -> str:
    """The schema of a view set: another set of names and versions is another schema, and the old one stays."""
    named = json.dumps(sorted((view.NAME, view.VERSION) for view in views))
    return f"{service}_{hashlib.sha256(named.encode()).hexdigest()[:10]}"
