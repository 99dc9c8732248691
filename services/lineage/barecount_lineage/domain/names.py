"""How things are called in lineage. One place, so that a run's input is the very dataset that another run wrote.

Datasets follow OpenLineage's naming for files: namespace `file`, name the path. Paths count from the lake's root
(`<tenant>/landing/…`, `<tenant>/<environment>/<table>/<column>=<key>`), so that a moved data folder renames nothing.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

DATASETS: Final = "file"
_RUNS: Final = UUID("5f0f6a4e-8f0d-5a7e-9d53-0b8f8b0f4c11")


def run_uuid(tenant: str, run_id: str) -> UUID:
    """A run's id as OpenLineage wants it; the same run always has the same one."""
    return uuid5(_RUNS, f"{tenant}\x1f{run_id}")


def job_namespace(tenant: str, environment: str) -> str:
    return f"barecount://{tenant}/{environment}"


def landing_name(tenant: str, path: str, data_partition: str) -> str:
    """A source's file of one data partition; `path` is the manifest's, relative to the tenant's lake."""
    return f"{tenant}/{path.replace('{partition}', data_partition)}"


def table_name(tenant: str, environment: str, path: str) -> str:
    """A sink's table; `path` is the manifest's, relative to the environment's lake."""
    return f"{tenant}/{environment}/{path}"


def partition_name(table: str, column: str, data_partition: str) -> str:
    """One data partition of a table, as its folder is called."""
    return f"{table}/{column}={data_partition}"
