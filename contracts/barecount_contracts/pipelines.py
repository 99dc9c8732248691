"""Commands that people and systems send, and what the command service decides of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .message import Message, Part, message

Environment = Literal["dev", "staging", "prod"]
Digest = str  # sha256:<64 hex>


class ContractRef(Part):
    """A data contract by name and version, as in `revenue-kpi` `v3.2`."""

    name: str = Field(description="The contract's name")
    version: str = Field(description="Its version, as v3.2")


class PlanSummary(Part):
    """What will run, resolved: its digest is what an approval binds to."""

    pipeline: str = Field(description="The pipeline's name")
    environment: Environment = Field(description="Where it runs")
    manifest_version: int = Field(description="The version of the manifest that runs")
    manifest_digest: Digest = Field(description="sha256 of the effective manifest")
    contract: ContractRef = Field(description="The output contract")
    data_partitions: tuple[str, ...] = Field(description="Keys of the manifest's partitioning")
    mode: Literal["run", "replay"] = Field(description="Whether it is a first run or a replay")
    rerun_of: str | None = Field(default=None, description="The run that this one replays")
    root_run: str | None = Field(default=None, description="The first run of a chain of replays")


class LedgerFacts(Part):
    """What the evidence ledger proves about a run, as recomputed by the command service from the ledger alone."""

    found: bool = Field(description="Whether the ledger, complete up to the request, holds an ended run of this id for this tenant")
    run_id: str = Field(description="The run, unique within its tenant")
    pipeline: str | None = Field(default=None, description="The pipeline's name")
    environment: Environment | None = Field(default=None, description="Where it ran")
    status: Literal["succeeded", "failed", "cancelled"] | None = Field(default=None, description="How the run ended")
    data_partitions: tuple[str, ...] = Field(default=(), description="Those of the run's plan")
    contract: ContractRef | None = Field(default=None, description="Under which it ran")
    manifest_version: int | None = Field(default=None, description="Which it ran")
    manifest_digest: Digest | None = Field(default=None, description="sha256 of the effective manifest")
    root_run: str | None = Field(default=None, description="The first run of a chain of replays")
    leaf_index: int | None = Field(default=None, description="The leaf that records the run's end")
    leaf_hash: str | None = Field(default=None, description="hex")
    tree_size: int = Field(description="Leaves of the tree under which inclusion was checked")
    root_hash: str = Field(description="hex; recomputed by the command service")
    inclusion_verified: bool = Field(default=False, description="Whether that leaf's inclusion under `root_hash` was verified")
    covered: dict[str, int] = Field(default_factory=dict, description="runs.events partition -> next offset that the ledger covers")
    published: tuple[str, ...] = Field(default=(), description="Data partitions that this run had published, as the ledger holds them")
    checkpoint_verified: bool | None = Field(
        default=None, description="Whether the ledger's signed checkpoint of `tree_size` names the root recomputed here"
    )


# --- commands ---------------------------------------------------------------------------------------------------------------


@message(outcome="requested")
class RegisterSchema(Message):
    """Register a JSON Schema under a subject (Confluent REST: POST /subjects/{subject}/versions)."""

    subject: str = Field(description="A registry subject, as <tenant>.<contract>-<object>")
    schema_type: Literal["JSON"] = Field(default="JSON", description="As Confluent's registry names it")
    schema_text: str = Field(description="The JSON Schema (draft 2020-12) as text")


@message(outcome="requested")
class RegisterContract(Message):
    """Register a version of a data contract: an Open Data Contract Standard document."""

    name: str = Field(description="The document's name")
    version: str = Field(description="The document's version")
    document: dict[str, Any] = Field(description="An Open Data Contract Standard document")


@message(outcome="requested")
class CreatePipeline(Message):
    """Create a pipeline from its first manifest, in the environment dev."""

    name: str = Field(description="The manifest's name")
    manifest: dict[str, Any] = Field(description="The manifest, whole")


@message(outcome="requested")
class UpdatePipeline(Message):
    """Give a pipeline a new manifest version, in the environment dev."""

    name: str = Field(description="The pipeline's name")
    manifest: dict[str, Any] = Field(description="The manifest, whole")
    expected_version: int | None = Field(default=None, description="Refuse unless this is the newest version (If-Match)")


@message(outcome="requested")
class DeletePipeline(Message):
    """Retire a pipeline. Its history stays."""

    name: str = Field(description="The pipeline's name")


@message(outcome="requested")
class PromotePipeline(Message):
    """Let an environment run the manifest version that another one runs."""

    name: str = Field(description="The pipeline's name")
    from_environment: Environment = Field(description="Whose version is taken")
    to_environment: Environment = Field(description="Which runs it from now on")
    version: int | None = Field(default=None, description="Refuse unless the first environment runs this version")


@message(outcome="requested")
class StartRun(Message):
    """Run a pipeline for one data partition."""

    pipeline: str = Field(description="The pipeline's name")
    environment: Environment = Field(default="prod", description="Whose manifest version runs")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    run_id: str | None = Field(default=None, description="Chosen by the caller, or derived from the command id")


@message(outcome="requested")
class CancelRun(Message):
    """Cancel a run: nothing of it appears afterwards, and what it had published is named."""

    run_id: str = Field(description="The run, unique within its tenant")
    reason: str = Field(default="", description="Why, in the words of whoever decided")


@message(outcome="requested")
class ReplayRun(Message):
    """Run a run's data partition again, after the ledger has proven what happened."""

    run_id: str = Field(description="The run, unique within its tenant")
    contract_version: str = Field(description="The output contract version, as v3.2")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    manifest_version: str = Field(default="as_run", description="`as_run`, `latest`, or a number")


@message(outcome="requested")
class ReportLedgerFacts(Message):
    """By policy: the ledger covers the moment of the request; this is what it proves."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    facts: LedgerFacts = Field(description="What the ledger proves")


@message(outcome="requested")
class DecideRequest(Message):
    """A person approves or rejects a waiting request, bound to the plan that they saw."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    decision: Literal["approve", "reject"] = Field(description="What the person decides")
    reason: str = Field(min_length=1, description="Why: it stands in the evidence")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")


# --- events -----------------------------------------------------------------------------------------------------------------


@message(subject=("schema", "subject"), facts=("schema_version", "schema_id", "digest"))
class SchemaRegistered(Message):
    """A subject has a new schema version."""

    subject: str = Field(description="A registry subject, as <tenant>.<contract>-<object>")
    schema_version: int = Field(description="Counts from 1 within the subject")
    schema_id: int = Field(description="The same content has the same id within a tenant")
    schema_type: Literal["JSON"] = Field(default="JSON", description="As Confluent's registry names it")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    schema_text: str = Field(description="The JSON Schema (draft 2020-12) as text")


@message(subject=("contract", "name"), facts=("version", "digest"))
class ContractRegistered(Message):
    """A version of a data contract exists. Each of its objects has a JSON Schema under the subject named here."""

    name: str = Field(description="The document's name")
    version: str = Field(description="The document's version")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    document: dict[str, Any] = Field(description="An Open Data Contract Standard document")
    schemas: dict[str, dict[str, Any]] = Field(description="object name -> JSON Schema of one row")
    subjects: dict[str, str] = Field(description="object name -> registry subject")


@message(subject=("pipeline", "name"), facts=("version", "digest", "environment"))
class PipelineCreated(Message):
    """A pipeline exists, with its first manifest version deployed in dev."""

    name: str = Field(description="The pipeline's name")
    version: int = Field(description="1")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    manifest: dict[str, Any] = Field(description="The manifest, whole")
    environment: Environment = Field(default="dev", description="Where it is deployed")


@message(subject=("pipeline", "name"), facts=("version", "digest", "environment"))
class PipelineUpdated(Message):
    """A pipeline has a new manifest version, deployed in dev."""

    name: str = Field(description="The pipeline's name")
    version: int = Field(description="The manifest version, counted from 1")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    manifest: dict[str, Any] = Field(description="The manifest, whole")
    environment: Environment = Field(default="dev", description="Where it is deployed")


@message(subject=("pipeline", "name"), facts=("last_version",))
class PipelineDeleted(Message):
    """A pipeline is retired; nothing of it runs any more."""

    name: str = Field(description="The pipeline's name")
    last_version: int = Field(description="The newest manifest version")


@message(subject=("pipeline", "name"), facts=("version", "digest", "from_environment", "to_environment"))
class PipelinePromoted(Message):
    """An environment now runs this manifest version."""

    name: str = Field(description="The pipeline's name")
    version: int = Field(description="The manifest version that the environment runs now")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    from_environment: Environment = Field(description="Whose version was taken")
    to_environment: Environment = Field(description="Which runs it now")


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

    run_id: str = Field(description="The run, unique within its tenant")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")


@message(subject=("run", "run_id"), facts=("reason",), outcome="requested")
class RunCancelRequested(Message):
    """Somebody with the permission wants a run to end."""

    run_id: str = Field(description="The run, unique within its tenant")
    reason: str = Field(description="Why, in the words of whoever decided")


REPLAY_FACTS = ("run_id", "contract_version", "data_partition")


@message(subject=("replay", "request_id"), facts=REPLAY_FACTS, outcome="waiting")
class ReplayRequested(Message):
    """A replay is asked for. It waits until the ledger covers this moment."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    run_id: str = Field(description="The run, unique within its tenant")
    contract_version: str = Field(description="The output contract version, as v3.2")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    manifest_version: str = Field(description="`as_run`, `latest`, or a number")


@message(
    subject=("replay", "request_id"),
    facts=(*REPLAY_FACTS, "facts.leaf_index", "facts.leaf_hash", "facts.tree_size", "facts.root_hash", "plan_digest"),
)
class ReplayValidated(Message):
    """The ledger proves what the request says: that run, ended like that, on that data partition, under that contract."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    run_id: str = Field(description="The run, unique within its tenant")
    contract_version: str = Field(description="The output contract version, as v3.2")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    facts: LedgerFacts = Field(description="What the ledger proves")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")


@message(subject=("replay", "request_id"), facts=(*REPLAY_FACTS, "code"), outcome="refused")
class ReplayRefused(Message):
    """The ledger does not prove what the request says."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    run_id: str = Field(description="The run, unique within its tenant")
    contract_version: str = Field(description="The output contract version, as v3.2")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    code: str = Field(description="A row of problems.yaml")
    detail: str = Field(description="What happened, to which thing, and what to do now")
    extra: dict[str, Any] = Field(default_factory=dict, description="What a program may want to know, such as what exists instead")
    facts: LedgerFacts = Field(description="What the ledger proves")


@message(subject=("replay", "request_id"), facts=("run_id", "new_run_id", "by", "rule", "plan_digest"))
class ReplayApproved(Message):
    """A replay may run: by the manifest's governance policy, or by a person. The decision is spent with this event."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    run_id: str = Field(description="The run, unique within its tenant")
    new_run_id: str = Field(description="The run that does it again")
    by: Literal["policy", "person"] = Field(description="Who decided: the manifest's governance policy or a person")
    rule: str = Field(description="The manifest's rule that decided, or `person`")
    reason: str = Field(description="Why, in the words of whoever decided")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")


@message(subject=("replay", "request_id"), facts=("run_id", "rule", "plan_digest"), outcome="waiting")
class ApprovalRequested(Message):
    """A person other than the requester must decide."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    run_id: str = Field(description="The run, unique within its tenant")
    rule: str = Field(description="The manifest's rule that asks for a person")
    reason: str = Field(description="Why, in the words of whoever decided")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    requested_by: str = Field(description="The requester's principal, who may not decide")


@message(subject=("replay", "request_id"), facts=("run_id", "plan_digest"), outcome="refused")
class ApprovalRejected(Message):
    """A person said no."""

    request_id: str = Field(description="The replay request: derived from the command that asked")
    run_id: str = Field(description="The run, unique within its tenant")
    reason: str = Field(description="Why, in the words of whoever decided")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
