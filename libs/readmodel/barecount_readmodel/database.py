"""One service's PostgreSQL: a pool for the projector, and read-only queries of one tenant under row-level security."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

import asyncpg

from .errors import DatabaseAway, QueryRoleMissing, ReadModelError
from .pipelined import Prepared
from .schema import creation, finish, literal, prepare, quoted
from .view import Connection, View, schema_of

# what belongs to every tenant may be read by policies and internal reads only; no tenant can be named so (see the chassis)
EVERY_TENANT: Final = "*"

# a process frozen within a batch holds its position's row: PostgreSQL ends that transaction, so that a successor can go on
IDLE_IN_TRANSACTION: Final = "10s"
# frozen between a statement's messages it is `active`, not idle; no honest batch takes so long (needs PostgreSQL 17)
TRANSACTION: Final = "60s"
# a projector's batch may be long; whoever asks is waiting: for a connection, and for each statement
BATCH_SECONDS: Final = 60.0
ASK_SECONDS: Final = 10.0


class Database:
    """Opened once a process. pool: the projector's side, logged in as the owner of the tables."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], readers: asyncpg.Pool[asyncpg.Record], service: str) -> None:
        self.pool, self._readers, self.service = pool, readers, service
        self.query_role = query_role_of(service)
        self.schema: str | None = None
        # whether its tables lack what only questions need, so that COPY goes into them
        self.bare = False
        self.prepared = Prepared()

    @classmethod
    async def open(cls, url: str, *, service: str, connections: int = 4, session: Mapping[str, str] | None = None) -> Self:
        """connections: the most of each of the two pools; idle ones are closed after a minute. session: PostgreSQL's settings of each.

        Raises: QueryRoleMissing; OSError or asyncpg's errors when the server is not there.
        """
        pool, readers = [
            await asyncpg.create_pool(
                url,
                min_size=least,
                max_size=connections,
                max_inactive_connection_lifetime=60,
                command_timeout=seconds,
                reset=_as_it_is,
                server_settings={
                    "application_name": service,
                    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
                    "transaction_timeout": TRANSACTION,
                    **(session or {}),
                },
            )
            for least, seconds in ((1, BATCH_SECONDS), (0, ASK_SECONDS))
        ]
        database = cls(pool, readers, service)
        try:
            async with pool.acquire() as conn:
                await _ensure_query_role(conn, database.query_role)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        for pool in (self._readers, self.pool):
            try:
                await pool.close()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()

    async def prepare(self, views: Sequence[View], schema: str | None = None, *, bare: bool = False) -> str:
        """Creates the schema of this view set unless it stands, and directs queries to it. The projector calls it at its start.

        schema: another name than the view set's own, for a rebuild. bare: only what a projection needs, until `finish`.
        """
        schema = schema or schema_of(self.service, views)
        async with self.pool.acquire() as conn:
            await prepare(conn, schema, views, query_role=self.query_role, bare=bare)
        self.schema, self.bare = schema, bare
        return schema

    async def finish(self, views: Sequence[View]) -> None:
        """After it the schema is as if it had never been bare. Nobody projects meanwhile."""
        if not self.bare:
            return
        assert self.schema is not None
        async with self.pool.acquire() as conn:
            # as long as the indexes of all rows take
            await conn.execute("SET transaction_timeout = 0")
            await finish(conn, self.schema, views, query_role=self.query_role)
            await conn.execute("RESET transaction_timeout")
        self.bare = False

    @asynccontextmanager
    async def query(self, tenant: str) -> AsyncIterator[Connection]:
        """One read-only transaction as the query role: table names are the views', rows are the tenant's.

        tenant: EVERY_TENANT for policies and internal reads only, never from a caller. Raises: ReadModelError before `prepare`;
        DatabaseAway when it does not answer within some 10 s a statement.
        """
        if self.schema is None:
            raise ReadModelError("the read model is not prepared yet: start the projector first")
        if not tenant:
            raise ValueError("a query needs a tenant")
        # one round trip instead of two
        begin = (
            f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path TO {quoted(self.schema)}; {self._as_tenant(tenant)}"
        )
        async with self._transaction(begin) as conn:
            yield conn

    @asynccontextmanager
    async def scratch(self, tenant: str, views: Sequence[View], fill: Callable[[Connection], Awaitable[None]]) -> AsyncIterator[Connection]:
        """The views' tables, empty but for what `fill` puts in as their owner, then read as `query` reads.

        Everything happens in one transaction that is rolled back in any case: nobody else sees the tables, nothing of them stays, and
        no other table has a name here.
        """
        if not tenant:
            raise ValueError("a query needs a tenant")
        async with self._transaction("BEGIN") as conn:
            await conn.execute(creation(f"{self.service}_scratch_{secrets.token_hex(6)}", views, query_role=self.query_role))
            await fill(conn)
            await conn.execute(f"SET TRANSACTION READ ONLY; {self._as_tenant(tenant)}")
            yield conn

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Connection]:
        """A reader's transaction: rolled back in any case, because there is nothing to commit. Raises: DatabaseAway; asyncpg's errors."""
        try:
            async with self._readers.acquire(timeout=ASK_SECONDS) as conn:
                try:
                    await conn.execute(begin)
                    yield conn
                except (TimeoutError, asyncio.CancelledError):
                    # a server that does not answer would not answer to ROLLBACK either: it does that by itself when the connection is gone
                    conn.terminate()
                    raise
                finally:
                    # a connection that is lost has rolled back by itself
                    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                        await conn.execute("ROLLBACK")
        except OSError as error:
            # of a refused connection, of a name that does not resolve, of a server that is silent
            raise DatabaseAway(f"the database of {self.service} does not answer: {str(error) or type(error).__name__}") from error

    def _as_tenant(self, tenant: str) -> str:
        return f"SET LOCAL barecount.tenant = {literal(tenant)}; SET LOCAL ROLE {quoted(self.query_role)}"


def query_role_of(service: str) -> str:
    """The NOLOGIN role under which a service's queries run; the stack creates it and grants it to the service's login."""
    return f"{service}_query"


async def _as_it_is(conn: Connection) -> None:
    """What a connection is told before another uses it: nothing, because every setting here is local to a transaction.

    Unless that transaction did not end, because a cancelled caller could not say ROLLBACK any more.
    """
    if conn.is_in_transaction():
        await conn.execute("ROLLBACK")


async def _ensure_query_role(conn: Connection, role: str) -> None:
    owner = await conn.fetchval("SELECT current_user")
    try:
        if not await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await conn.execute(f"CREATE ROLE {quoted(role)} NOLOGIN")
        if not await conn.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", role):
            await conn.execute(f"GRANT {quoted(role)} TO CURRENT_USER")
    except asyncpg.DuplicateObjectError:
        return
    except asyncpg.InsufficientPrivilegeError as error:
        raise QueryRoleMissing(role, owner) from error
