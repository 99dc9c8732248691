"""The parts of work: what a plan stands for, an attempt and its ticket, and what an attempt counted, checked, compared and published."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from .message import Part
from .pipelines import Digest


class ContractBody(Part):
    """A data contract with its document, as a worker needs it."""

    name: str = Field(description="The contract's name")
    version: str = Field(description="Its version")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    document: dict[str, Any] = Field(description="An Open Data Contract Standard document")


class Bodies(Part):
    """What a plan's digests stand for: a worker needs nothing else."""

    manifest: dict[str, Any] = Field(description="The effective manifest")
    contracts: tuple[ContractBody, ...] = Field(description="Every contract that the manifest names")


class TaskRef(Part):
    """One attempt at one stage of one data partition."""

    stage: str = Field(description="A stage of the manifest")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    attempt: int = Field(ge=1, description="Counts from 1 for each stage of a data partition")
    nonce: str = Field(description="Names this attempt; a report with another nonce is refused")
    worker_id: str = Field(description="The worker: its tasks stand under this key")
    incarnation: str = Field(description="Names one life of the worker's process")


class PublishTicket(Part):
    """The right to publish one data partition of a table, and the fence that takes it from everybody before.

    Numbers rise per table and data partition over all runs and attempts. `fence` is committed empty first when `superseded` is
    not empty; `number` is committed with the data (Delta application transactions).
    """

    app_id: str = Field(description="<tenant>/<environment>/<pipeline>/<data partition>")
    table: str = Field(description="The table, as the manifest's sink names it: below <lake>/<tenant>/<environment>")
    number: int = Field(description="Under which the data is committed")
    fence: int = Field(description="Committed empty first when `superseded` is not empty")
    superseded: tuple[int, ...] = Field(default=(), description="Numbers of this run's earlier attempts that may have published")


class StagedOutput(Part):
    """What a stage left in staging, by name."""

    name: str = Field(description="The name that stages know it by")
    files: tuple[str, ...] = Field(description="Paths relative to the lake")
    records: int = Field(description="Rows")
    digest: Digest = Field(description="sha256 over the files")


class StageMetrics(Part):
    """What one attempt counted."""

    records_in: int = Field(default=0, description="Rows read")
    records_out: int = Field(default=0, description="Rows given")
    dead_lettered: int = Field(default=0, description="Records set aside")
    bytes_out: int = Field(default=0, description="Bytes written")
    duration_ms: int = Field(default=0, description="Wall-clock time of the attempt")


# the check that every read stage reports: the landed file's columns against the contract's; execution tells a broken one as drift
SOURCE_COLUMNS: Final = "source-columns"


class CheckResult(Part):
    """One contract or quality rule, checked."""

    name: str = Field(description="The rule")
    holds: bool = Field(description="Whether the rule holds")
    failed_records: int = Field(default=0, description="Rows that break it")
    detail: str = Field(default="", description="What was found")


class Reconciliation(Part):
    """One total compared; money as decimal strings."""

    name: str = Field(description="The rule")
    expected: str = Field(description="The control total")
    actual: str = Field(description="What was computed")
    difference: str = Field(description="actual - expected")
    holds: bool = Field(description="Whether the difference is within the rule's tolerance")


class Publication(Part):
    """A commit in a Delta table's log."""

    table: str = Field(description="The table, as the manifest's sink names it: below <lake>/<tenant>/<environment>")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    delta_version: int = Field(description="The version of the Delta table that the commit made")
    ticket: int = Field(description="The number under which it was published")
    files_digest: Digest = Field(description="sha256 over the added files")
    records: int = Field(description="Rows")
    already: bool = Field(default=False, description="An earlier attempt of this run had committed; this one only found it")


class InputFile(Part):
    """A file that a stage read, as it was."""

    path: str = Field(description="Relative to the lake")
    digest: Digest = Field(description="sha256 of the file")
    bytes: int = Field(description="Its size")
