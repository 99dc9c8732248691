"""Commands that people and systems send, and what the command service decides of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .message import Message, Part, message

Environment = Literal["dev", "staging", "prod"]
Digest = str  # sha256:<64 hex>


class ContractRef(Part):
    """A data contract by name and version, as in `revenue-kpi` `v3.2`."""

    name: str
    version: str


class PlanSummary(Part):
    """What will run, resolved: its digest is what an approval binds to."""

    pipeline: str
    environment: Environment
    manifest_version: int
    manifest_digest: Digest
    contract: ContractRef = Field(description="The output contract")
    data_partitions: tuple[str, ...]
    mode: Literal["run", "replay"]
    rerun_of: str | None = None
    root_run: str | None = None


class LedgerFacts(Part):
    """What the evidence ledger proves about a run, as recomputed by the command service from the ledger alone."""

    found: bool = Field(description="Whether the ledger, complete up to the request, holds an ended run of this id for this tenant")
    run_id: str
    pipeline: str | None = None
    environment: Environment | None = None
    status: Literal["succeeded", "failed", "cancelled"] | None = None
    data_partitions: tuple[str, ...] = ()
    contract: ContractRef | None = None
    manifest_version: int | None = None
    manifest_digest: Digest | None = None
    root_run: str | None = None
    leaf_index: int | None = None
    leaf_hash: str | None = Field(default=None, description="hex")
    tree_size: int = Field(description="Leaves of the tree under which inclusion was checked")
    root_hash: str = Field(description="hex; recomputed by the command service")
    inclusion_verified: bool = False
    covered: dict[str, int] = Field(default_factory=dict, description="runs.events partition -> next offset that the ledger covers")
    published: tuple[str, ...] = Field(default=(), description="Data partitions that this run had published, as the ledger holds them")
    checkpoint_verified: bool | None = Field(
        default=None, description="Whether the ledger's signed checkpoint of `tree_size` names the root recomputed here"
    )


# --- commands ---------------------------------------------------------------------------------------------------------------


@message(outcome="requested")
class RegisterSchema(Message):
    """Register a JSON Schema under a subject (Confluent REST: POST /subjects/{subject}/versions)."""

    subject: str
    schema_type: Literal["JSON"] = "JSON"
    schema_text: str


@message(outcome="requested")
class RegisterContract(Message):
    """Register a version of a data contract: an Open Data Contract Standard document."""

    name: str
    version: str
    document: dict[str, Any]


@message(outcome="requested")
class CreatePipeline(Message):
    """Create a pipeline from its first manifest, in the environment dev."""

    name: str
    manifest: dict[str, Any]


@message(outcome="requested")
class UpdatePipeline(Message):
    """Give a pipeline a new manifest version, in the environment dev."""

    name: str
    manifest: dict[str, Any]
    expected_version: int | None = Field(default=None, description="Refuse unless this is the newest version (If-Match)")


@message(outcome="requested")
class DeletePipeline(Message):
    """Retire a pipeline. Its history stays."""

    name: str


@message(outcome="requested")
class PromotePipeline(Message):
    """Let an environment run the manifest version that another one runs."""

    name: str
    from_environment: Environment
    to_environment: Environment
    version: int | None = Field(default=None, description="Refuse unless the first environment runs this version")


@message(outcome="requested")
class StartRun(Message):
    """Run a pipeline for one data partition."""

    pipeline: str
    environment: Environment = "prod"
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    run_id: str | None = Field(default=None, description="Chosen by the caller, or derived from the command id")


@message(outcome="requested")
class CancelRun(Message):
    """Cancel a run: nothing of it appears afterwards, and what it had published is named."""

    run_id: str
    reason: str = ""


@message(outcome="requested")
class ReplayRun(Message):
    """Run a run's data partition again, after the ledger has proven what happened."""

    run_id: str
    contract_version: str
    data_partition: str
    manifest_version: str = Field(default="as_run", description="`as_run`, `latest`, or a number")


@message(outcome="requested")
class ReportLedgerFacts(Message):
    """By policy: the ledger covers the moment of the request; this is what it proves."""

    request_id: str
    facts: LedgerFacts


@message(outcome="requested")
class DecideRequest(Message):
    """A person approves or rejects a waiting request, bound to the plan that they saw."""

    request_id: str
    decision: Literal["approve", "reject"]
    reason: str = Field(min_length=1)
    plan_digest: Digest


# --- events -----------------------------------------------------------------------------------------------------------------


@message(subject=("schema", "subject"), facts=("schema_version", "schema_id", "digest"))
class SchemaRegistered(Message):
    """A subject has a new schema version."""

    subject: str
    schema_version: int
    schema_id: int
    schema_type: Literal["JSON"] = "JSON"
    digest: Digest
    schema_text: str


@message(subject=("contract", "name"), facts=("version", "digest"))
class ContractRegistered(Message):
    """A version of a data contract exists. Each of its objects has a JSON Schema under the subject named here."""

    name: str
    version: str
    digest: Digest
    document: dict[str, Any]
    schemas: dict[str, dict[str, Any]] = Field(description="object name -> JSON Schema of one row")
    subjects: dict[str, str] = Field(description="object name -> registry subject")


@message(subject=("pipeline", "name"), facts=("version", "digest", "environment"))
class PipelineCreated(Message):
    """A pipeline exists, with its first manifest version deployed in dev."""

    name: str
    version: int
    digest: Digest
    manifest: dict[str, Any]
    environment: Environment = "dev"


@message(subject=("pipeline", "name"), facts=("version", "digest", "environment"))
class PipelineUpdated(Message):
    """A pipeline has a new manifest version, deployed in dev."""

    name: str
    version: int
    digest: Digest
    manifest: dict[str, Any]
    environment: Environment = "dev"


@message(subject=("pipeline", "name"), facts=("last_version",))
class PipelineDeleted(Message):
    """A pipeline is retired; nothing of it runs any more."""

    name: str
    last_version: int


@message(subject=("pipeline", "name"), facts=("version", "digest", "from_environment", "to_environment"))
class PipelinePromoted(Message):
    """An environment now runs this manifest version."""

    name: str
    version: int
    digest: Digest
    from_environment: Environment
    to_environment: Environment


PLAN_FACTS = (
    "plan.pipeline",
    "plan.environment",
    "plan.manifest_version",
    "plan.manifest_digest",
    "plan.contract.name",
    "plan.contract.version",
    "plan.data_partitions",
    "plan.rerun_of",
    "plan_digest",
)


@message(subject=("run", "run_id"), facts=PLAN_FACTS, outcome="requested")
class RunRequested(Message):
    """A run is admitted; execution takes it from here."""

    run_id: str
    plan: PlanSummary
    plan_digest: Digest


@message(subject=("run", "run_id"), facts=("reason",), outcome="requested")
class RunCancelRequested(Message):
    """Somebody with the permission wants a run to end."""

    run_id: str
    reason: str


REPLAY_FACTS = ("run_id", "contract_version", "data_partition")


@message(subject=("replay", "request_id"), facts=REPLAY_FACTS, outcome="waiting")
class ReplayRequested(Message):
    """A replay is asked for. It waits until the ledger covers this moment."""

    request_id: str
    run_id: str
    contract_version: str
    data_partition: str
    manifest_version: str


@message(
    subject=("replay", "request_id"),
    facts=(*REPLAY_FACTS, "facts.leaf_index", "facts.leaf_hash", "facts.tree_size", "facts.root_hash", "plan_digest"),
)
class ReplayValidated(Message):
    """The ledger proves what the request says: that run, ended like that, on that data partition, under that contract."""

    request_id: str
    run_id: str
    contract_version: str
    data_partition: str
    facts: LedgerFacts
    plan: PlanSummary
    plan_digest: Digest


@message(subject=("replay", "request_id"), facts=(*REPLAY_FACTS, "code"), outcome="refused")
class ReplayRefused(Message):
    """The ledger does not prove what the request says."""

    request_id: str
    run_id: str
    contract_version: str
    data_partition: str
    code: str
    detail: str
    extra: dict[str, Any] = Field(default_factory=dict)
    facts: LedgerFacts


@message(subject=("replay", "request_id"), facts=("run_id", "new_run_id", "by", "rule", "plan_digest"))
class ReplayApproved(Message):
    """A replay may run: by the manifest's governance policy, or by a person. The decision is spent with this event."""

    request_id: str
    run_id: str
    new_run_id: str
    by: Literal["policy", "person"]
    rule: str = Field(description="The manifest's rule that decided, or `person`")
    reason: str
    plan: PlanSummary
    plan_digest: Digest


@message(subject=("replay", "request_id"), facts=("run_id", "rule", "plan_digest"), outcome="waiting")
class ApprovalRequested(Message):
    """A person other than the requester must decide."""

    request_id: str
    run_id: str
    rule: str
    reason: str
    plan: PlanSummary
    plan_digest: Digest
    requested_by: str


@message(subject=("replay", "request_id"), facts=("run_id", "plan_digest"), outcome="refused")
class ApprovalRejected(Message):
    """A person said no."""

    request_id: str
    run_id: str
    reason: str
    plan_digest: Digest
