"""What was parked stays visible: the count of projection_errors as a metric, which a restart does not forget."""

from __future__ import annotations

from . import metrics
from .database import Database
from .schema import quoted


async def tell_parked(database: Database) -> None:
    """Sets the metric to what the table holds, by topic and code."""
    rows = await database.pool.fetch(
        f"SELECT topic, code, count(*) AS records FROM {quoted(database.schema or '')}.projection_errors GROUP BY topic, code"
    )
    for row in rows:
        metrics.PARKED_EVER.labels(service=database.service, topic=row["topic"], code=row["code"]).set(row["records"])
