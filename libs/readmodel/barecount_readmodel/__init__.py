"""PostgreSQL: exactly-once projector, consistency tokens.

Errors (one tree): ReadModelError > QueryRoleMissing, NotYetProjected, TokenError, ProjectionTaken.
"""

from .database import EVERY_TENANT, Database, query_role_of
from .errors import UNASKABLE, UNREACHABLE, NotYetProjected, ProjectionTaken, QueryRoleMissing, ReadModelError, TokenError
from .projector import Projector
from .rows import insert_rows
from .snapshots import PostgresSnapshots
from .token import Token, token_secret
from .view import Connection, View, schema_of

__all__ = [
    "EVERY_TENANT",
    "UNASKABLE",
    "UNREACHABLE",
    "Connection",
    "Database",
    "NotYetProjected",
    "PostgresSnapshots",
    "ProjectionTaken",
    "Projector",
    "QueryRoleMissing",
    "ReadModelError",
    "Token",
    "TokenError",
    "View",
    "insert_rows",
    "query_role_of",
    "schema_of",
    "token_secret",
]
