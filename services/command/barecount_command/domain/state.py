"""What the owner of one partition of `pipelines.commands` remembers: heads and digests per tenant, never bodies.

A manifest, contract or schema version is kept as its digest and the few words that later decisions need; the texts stand in
`control.events` and, by digest, in the read model. Of a schema subject only the newest text is kept: compatibility compares
with it. Runs and decided requests are kept for ever (their ids stay taken), at some 150 bytes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

from barecount_contracts import Environment, LedgerFacts, PlanSummary, Role
from barecount_manifest import Manifest, Partitioning, ReplayGovernance
from immutables import Map
from pydantic import BaseModel

from .admitted import AdmittedRuns
from .webhooks import Endpoints

Decides = Literal["policy", "person"]
ENVIRONMENTS: tuple[Environment, ...] = ("dev", "staging", "prod")


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of a data contract; `size` is its canonical form in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A registry subject: (digest, id) of every version, the first being version 1, and the newest version's text."""

    versions: tuple[tuple[str, int], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What decisions need of a manifest version. Most versions of all manifests share a few: make them by `terms_of`."""

    contract: tuple[str, str]
    """Name and version of the output contract: that of the first sink."""
    partitioned_by: str
    pool: str
    failed_under_same_contract: Decides
    otherwise: Decides


@lru_cache(maxsize=4096)
def terms_of(contract: tuple[str, str], partitioned_by: str, pool: str, failed_under_same_contract: Decides, otherwise: Decides) -> Terms:
    """The one object of these terms: a million versions of manifests must not hold five texts each."""
    return Terms(contract, partitioned_by, pool, failed_under_same_contract, otherwise)


def terms_in(manifest: Mapping[str, Any]) -> Terms:
    """The terms of a manifest that was judged valid, as its document says them.

    Not read as a Manifest: a later release's stricter checks do not unmake what was decided, and that takes 118 µs, this 1.5.
    """
    contract = manifest["sinks"][0]["contract"]
    rules = manifest.get("governance", {}).get("replay", {})
    return terms_of(
        (contract["name"], contract["version"]),
        manifest["partitioning"].get("by", _default(Partitioning, "by")),
        manifest.get("pool", _default(Manifest, "pool")),
        rules.get("failed_under_same_contract", _default(ReplayGovernance, "failed_under_same_contract")),
        rules.get("otherwise", _default(ReplayGovernance, "otherwise")),
    )


@cache
def _default(model: type[BaseModel], field: str) -> Any:
    return model.model_fields[field].default


@dataclass(frozen=True, slots=True)
class ManifestVersion:
    """One version: sha256 of its canonical form (32 bytes), and its terms."""

    sha256: bytes
    terms: Terms

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256.hex()}"

    @property
    def contract(self) -> tuple[str, str]:
        return self.terms.contract


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline with its versions 1..n and what each environment runs."""

    versions: tuple[ManifestVersion, ...]
    environments: Map[Environment, int]
    deleted: bool = False

    @property
    def newest(self) -> int:
        return len(self.versions)

    def version(self, number: int) -> ManifestVersion | None:
        return self.versions[number - 1] if 1 <= number <= len(self.versions) else None


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of a replay request, who sent them, and the chain that they began."""

    run_id: str
    contract_version: str
    data_partition: str
    manifest_version: str
    requested_by: str
    correlation: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Asked; the ledger's facts are not known yet."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Validated:
    """The ledger proves it; who decides follows in the same transaction."""

    asked: Asked
    plan: PlanSummary
    plan_digest: str
    facts: LedgerFacts


@dataclass(frozen=True, slots=True)
class Waiting:
    """A person other than the requester must decide about exactly this plan.

    newest_run: of its data partition when the person was asked; approving replaces what that one left.
    """

    asked: Asked
    plan: PlanSummary
    plan_digest: str
    facts: LedgerFacts
    newest_run: str


@dataclass(frozen=True, slots=True)
class Decided:
    """Over: the decision is spent."""

    outcome: Literal["approved", "rejected", "refused"]


Request = Pending | Validated | Waiting | Decided


@dataclass(frozen=True, slots=True)
class Publisher:
    """A system that signs commands with its own key. registrars: everybody who ever vouched for one of its keys.

    They never decide its requests, or one person could be both pairs of eyes.
    """

    public_key: str
    roles: tuple[Role, ...]
    description: str
    registrars: frozenset[str]
    revoked: bool = False


class Tenant(NamedTuple):
    """Everything of one tenant. A tuple: one is made for every run that is admitted or restored."""

    contracts: Map[str, Map[str, Contract]] = Map()
    subjects: Map[str, Subject] = Map()
    schema_ids: Map[str, int] = Map()
    """Digest of a schema's content to its id: ids count from 1 within the tenant, one for each content."""
    pipelines: Map[str, Pipeline] = Map()
    runs: AdmittedRuns = AdmittedRuns()
    newest_runs: Map[str, str] = Map()
    """`place_of` a data partition to the run that was admitted for it last."""
    requests: Map[str, Request] = Map()
    publishers: Map[str, Publisher] = Map()
    webhooks: Endpoints = Map()

    def with_runs(self, runs: AdmittedRuns, newest_runs: Map[str, str]) -> Tenant:
        """As `_replace`, in 0.8 instead of 1.2 µs: most events of a long log admit a run."""
        held = (self.contracts, self.subjects, self.schema_ids, self.pipelines)
        return Tenant(*held, runs, newest_runs, self.requests, self.publishers, self.webhooks)


def place_of(pipeline: str, environment: Environment, data_partition: str) -> str:
    """Where runs follow each other: one data partition of a pipeline in one environment."""
    return f"{environment}/{pipeline}/{data_partition}"


class State(NamedTuple):
    """Every tenant whose key hashes to the partition."""

    tenants: Map[str, Tenant] = Map()

    def of(self, tenant: str) -> Tenant:
        """The tenant's part; an empty one when nothing is known: what another tenant owns does not exist here."""
        return self.tenants.get(tenant, _NOBODY)

    def with_tenant(self, name: str, tenant: Tenant) -> State:
        return State(self.tenants.set(name, tenant))


_NOBODY = Tenant()
