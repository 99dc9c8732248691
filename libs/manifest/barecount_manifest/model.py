"""A pipeline manifest: what people write, what runs.

The fields' descriptions are the reference of the manifest; `Manifest.model_json_schema()` shows them to editors.
What one field alone cannot tell (a stage that reads an undeclared source) is judged in `checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .fields import Column, ContractVersion, Dataset, Exact, Fraction, Label, LandingPath, PipelineName, TablePath, Timezone
from .objectives import Slo

API_VERSION = "barecount.io/v1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


class ContractReference(_Part):
    """One version of a registered data contract (ODCS)."""

    name: Label
    """The contract's name in the registry."""
    version: ContractVersion
    """Its version, like v3.2."""


class Partitioning(_Part):
    """How the pipeline's tables are cut; one data partition is what a run computes and publishes as a whole."""

    by: Literal["day"] = "day"
    """The calendar rule of a partition key; `day` gives keys like 2025-10-04."""
    column: Column
    """The column of every sink that holds the partition key."""
    timezone: Timezone
    """IANA time zone in which a day begins and ends."""


class Source(_Part):
    """Where a pipeline's data comes from."""

    name: Dataset
    """Name that stages read it by."""
    format: Literal["csv"]
    """File format: CSV (RFC 4180) in UTF-8 with a header line."""
    path: LandingPath
    """File of one data partition, relative to the tenant's lake; {partition} becomes the key."""
    control: LandingPath | None = None
    """JSON file with the deliverer's control totals, like {"records": 3427, "sales_value": "10928.00"}; reconciliation needs it."""
    contract: ContractReference
    """The contract that every row must keep."""


class Sink(_Part):
    """Where a pipeline's result goes."""

    name: Dataset
    """Name that publish stages write it by."""
    format: Literal["delta"]
    """Table format: Delta Lake."""
    path: TablePath
    """Folder of the table, relative to the environment's lake."""
    contract: ContractReference
    """The contract that the published rows keep: the output contract."""


class ReadStage(_Part):
    """Reads a source's file of the data partition, typed by its contract; rows that cannot be read go to the DLQ."""

    name: Label
    kind: Literal["read"]
    source: Dataset
    """Name of a source."""
    output: Dataset
    """Name of the dataset that later stages use."""


class CheckStage(_Part):
    """Checks a dataset against the row rules and quality rules of the contract of the source it was read from."""

    name: Label
    kind: Literal["check"]
    input: Dataset
    """A dataset that a read stage gave."""


class SqlStage(_Part):
    """One SELECT in DuckDB's dialect over earlier datasets; it must give the same rows for the same input."""

    name: Label
    kind: Literal["sql"]
    inputs: tuple[Dataset, ...] = Field(min_length=1)
    """The datasets it may name; no other table, file or function that reads one."""
    output: Dataset
    """Name of the dataset it gives."""
    sql: Annotated[str, Field(min_length=1, max_length=65536)]
    """The SELECT. `$partition` is the data partition's key as text."""


class PublishStage(_Part):
    """Checks output contract, quality and reconciliation, then publishes the data partition in one commit of the table."""

    name: Label
    kind: Literal["publish"]
    input: Dataset
    """The dataset to publish."""
    sink: Dataset
    """Name of a sink."""


Stage = Annotated[ReadStage | CheckStage | SqlStage | PublishStage, Field(discriminator="kind")]


class QualityRule(_Part):
    """A query over one dataset whose single number must hold; exactly one `must_…` is given. Judged before publishing."""

    name: Label
    dataset: Dataset
    """The dataset that the query reads, a stage's output."""
    sql: Annotated[str, Field(min_length=1, max_length=65536)]
    """A SELECT of one number, like SELECT count(*) FROM revenue WHERE revenue < 0."""
    severity: Literal["error", "warning"] = "error"
    """`error` stops the run before it publishes, `warning` is recorded only."""
    must_be: Exact | None = None
    must_not_be: Exact | None = None
    must_be_greater_than: Exact | None = None
    must_be_greater_or_equal_to: Exact | None = None
    must_be_less_than: Exact | None = None
    must_be_less_or_equal_to: Exact | None = None
    must_be_between: tuple[Exact, Exact] | None = None


class ReconciliationRule(_Part):
    """A total of ours against the deliverer's control total, exact to the cent. Judged before publishing."""

    name: Label
    source: Dataset
    """The source whose control file holds the expected total."""
    control_field: Annotated[str, Field(min_length=1, max_length=128)]
    """Field of the control file, a whole number or a decimal in a string."""
    actual_sql: Annotated[str, Field(min_length=1, max_length=65536)]
    """A SELECT of one number over stage outputs, like SELECT sum(revenue) FROM revenue WHERE level = 'store'."""
    tolerance: Annotated[Exact, Field(ge=0)] = Field(default="0", validate_default=True)
    """Largest allowed absolute difference, in the field's unit."""


class Retry(_Part):
    """Retries of a task after errors that may pass (IO, lost worker); contract, quality and reconciliation failures never retry."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    backoff_seconds: Annotated[float, Field(gt=0, le=3600)] = 2
    """Wait before the second attempt; doubles each time."""
    max_backoff_seconds: Annotated[float, Field(gt=0, le=86400)] = 60


class Dlq(_Part):
    """How many bad records a task may set aside and still go on; beyond either limit it fails."""

    max_fraction: Fraction = Field(default="0", validate_default=True)
    """Share of the records read, 0 to 1."""
    max_records: Annotated[int, Field(ge=0)] = 0


class VolumeDrift(_Part):
    """How many records a data partition may bring, measured by the median of those before it."""

    min_ratio: Annotated[Exact, Field(ge=0)] = Field(default="0.5", validate_default=True)
    """Fewer records than this many times the median are drift."""
    max_ratio: Annotated[Exact, Field(ge=1)] = Field(default="2", validate_default=True)
    """More records than this many times the median are drift."""


class Drift(_Part):
    """What is told as drift. Drift stops nothing: contracts, quality and reconciliation do."""

    volume: VolumeDrift = VolumeDrift()


class ReplayGovernance(_Part):
    """Who decides about a replay: the policy by rule, or another person than the requester."""

    failed_under_same_contract: Literal["policy", "person"] = "person"
    """A replay of a data partition that failed, under the contract version it ran with."""
    otherwise: Literal["policy", "person"] = "person"
    """Any other replay."""


class Governance(_Part):
    """Who decides about what. A backfill always waits for another person than the requester."""

    replay: ReplayGovernance = ReplayGovernance()


class Schedule(_Part):
    """When the newest data partition is computed without being asked for."""

    cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]
    """Five cron fields (minute hour day month weekday) in the partitioning's time zone."""
    catch_up: Literal["none", "latest", "all"] = "latest"
    """Which missed times are made good after a pause."""


class Manifest(_Part):
    """A pipeline: its sources, stages, sinks, and the promises it keeps."""

    api_version: Literal["barecount.io/v1"] = Field(alias="apiVersion")
    """Version of this format."""
    kind: Literal["Pipeline"]
    name: PipelineName
    """Unique in the tenant; lower case letters, digits and hyphens; not a reserved name."""
    owner: Annotated[str, Field(min_length=1, max_length=128)]
    """Team that answers for it."""
    description: Annotated[str, Field(max_length=4096)] = ""
    pool: Label = "default"
    """Pool of workers that runs it."""
    partitioning: Partitioning
    sources: tuple[Source, ...] = Field(min_length=1)
    sinks: tuple[Sink, ...] = Field(min_length=1)
    stages: tuple[Stage, ...] = Field(min_length=1)
    """In the order in which they run; a stage uses only what stands before it."""
    quality: tuple[QualityRule, ...] = ()
    reconciliation: tuple[ReconciliationRule, ...] = ()
    slos: tuple[Slo, ...] = ()
    """Service level objectives, in OpenSLO's words."""
    retry: Retry = Retry()
    dlq: Dlq = Dlq()
    drift: Drift = Drift()
    governance: Governance = Governance()
    schedule: Schedule | None = None

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError when there is none."""
        return {stage.name: stage for stage in self.stages}[name]

    def source(self, name: str) -> Source:
        """The source of that name; KeyError when there is none."""
        return {source.name: source for source in self.sources}[name]

    def sink(self, name: str) -> Sink:
        """The sink of that name; KeyError when there is none."""
        return {sink.name: sink for sink in self.sinks}[name]

    def source_of(self, dataset: str) -> Source | None:
        """The source that a dataset was read from; None when a SQL stage computed it."""
        for stage in self.stages:
            if stage.kind == "read" and stage.output == dataset:
                return self.source(stage.source)
        return None
