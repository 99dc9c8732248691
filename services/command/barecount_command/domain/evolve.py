"""What an event of `control.events` changes. Total: an event that changes nothing here is passed by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from barecount_contracts import (
    ApprovalRejected,
    ApprovalRequested,
    ContractRegistered,
    Heading,
    PipelineCreated,
    PipelineDeleted,
    PipelinePromoted,
    PipelineUpdated,
    PlanSummary,
    PublisherRegistered,
    PublisherRevoked,
    ReplayApproved,
    ReplayRefused,
    ReplayRequested,
    ReplayValidated,
    RunRequested,
    SchemaRegistered,
    WebhookCreated,
    WebhookDeleted,
    WebhookSecretRotated,
    WebhookUpdated,
)
from barecount_manifest import canonical_bytes
from immutables import Map

from .plans import newest_run
from .state import (
    Asked,
    Contract,
    Decided,
    ManifestVersion,
    Pending,
    Pipeline,
    Publisher,
    State,
    Subject,
    Tenant,
    Validated,
    Waiting,
    place_of,
    terms_in,
)
from .webhooks import evolve_endpoints

_NOTHING = frozenset({"CommandRefused", "CommandDuplicated", "RecordRejected", "RunCancelRequested", "TickRecorded"})


def evolve(state: State, event: Heading) -> State:
    """The state after the event."""
    if event.type in _NOTHING:
        return state
    tenant = state.of(event.tenant)
    after = _apply(tenant, event)
    return state if after is tenant else state.with_tenant(event.tenant, after)


def evolve_all(state: State, events: Sequence[Heading]) -> State:
    """The state after the events: what admits runs is gathered until something else is said of the tenant, and entered together.

    The events of one tenant stay in order, and those of two change nothing of each other.
    """
    admitted: dict[str, list[RunRequested]] = {}
    for event in events:
        if event.type == RunRequested.TYPE and isinstance(fact := event.payload(), RunRequested):
            admitted.setdefault(event.tenant, []).append(fact)
        elif event.type not in _NOTHING:
            if (waiting := admitted.pop(event.tenant, None)) is not None:
                state = state.with_tenant(event.tenant, _runs(state.of(event.tenant), waiting))
            state = evolve(state, event)
    for name, waiting in admitted.items():
        state = state.with_tenant(name, _runs(state.of(name), waiting))
    return state


def _apply(tenant: Tenant, event: Heading) -> Tenant:
    match event.payload():
        # first: of a long log most events admit a run
        case RunRequested() as fact:
            return _run(tenant, fact.run_id, fact.plan)
        case ContractRegistered() as fact:
            versions = tenant.contracts.get(fact.name, Map())
            held = Contract(fact.digest, len(canonical_bytes(fact.document)))
            return tenant._replace(contracts=tenant.contracts.set(fact.name, versions.set(fact.version, held)))
        case SchemaRegistered() as fact:
            return _schema(tenant, fact)
        case PipelineCreated() | PipelineUpdated() as fact:
            return _manifest(tenant, fact)
        case PipelinePromoted() as fact:
            pipeline = tenant.pipelines[fact.name]
            running = pipeline.environments.set(fact.to_environment, fact.version)
            return tenant._replace(pipelines=tenant.pipelines.set(fact.name, replace(pipeline, environments=running)))
        case PipelineDeleted() as fact:
            pipeline = replace(tenant.pipelines[fact.name], deleted=True, environments=Map())
            return tenant._replace(pipelines=tenant.pipelines.set(fact.name, pipeline))
        case ReplayRequested() as fact:
            by, chain = event.principal or "", str(event.correlation)
            asked = Asked(fact.run_id, fact.contract_version, fact.data_partition, fact.manifest_version, by, chain)
            return tenant._replace(requests=tenant.requests.set(fact.request_id, Pending(asked)))
        case ReplayValidated() as fact:
            match tenant.requests.get(fact.request_id):
                case Pending(asked):
                    proven = Validated(asked, fact.plan, fact.plan_digest, fact.facts)
                    return tenant._replace(requests=tenant.requests.set(fact.request_id, proven))
                case _:
                    return tenant
        case ApprovalRequested() as fact:
            match tenant.requests.get(fact.request_id):
                case Validated(asked, plan, plan_digest, facts):
                    waiting = Waiting(asked, plan, plan_digest, facts, newest_run(tenant, plan))
                    return tenant._replace(requests=tenant.requests.set(fact.request_id, waiting))
                case _:
                    return tenant
        case ReplayApproved() as fact:
            started = _run(tenant, fact.new_run_id, fact.plan)
            return started._replace(requests=tenant.requests.set(fact.request_id, Decided("approved")))
        case ReplayRefused() as fact:
            return tenant._replace(requests=tenant.requests.set(fact.request_id, Decided("refused")))
        case ApprovalRejected() as fact:
            return tenant._replace(requests=tenant.requests.set(fact.request_id, Decided("rejected")))
        case WebhookCreated() | WebhookUpdated() | WebhookSecretRotated() | WebhookDeleted() as fact:
            return tenant._replace(webhooks=evolve_endpoints(tenant.webhooks, fact))
        case PublisherRegistered() as fact:
            former = tenant.publishers.get(fact.name)
            registrars = (former.registrars if former else frozenset()) | {event.principal or ""}
            fresh = Publisher(fact.public_key, fact.roles, fact.description, registrars)
            return tenant._replace(publishers=tenant.publishers.set(fact.name, fresh))
        case PublisherRevoked() as fact:
            gone = replace(tenant.publishers[fact.name], revoked=True)
            return tenant._replace(publishers=tenant.publishers.set(fact.name, gone))
        case _:
            return tenant


def _schema(tenant: Tenant, fact: SchemaRegistered) -> Tenant:
    held = tenant.subjects.get(fact.subject)
    before = held.versions if held else ()
    subject = Subject((*before, (fact.digest, fact.schema_id)), fact.schema_text)
    return tenant._replace(
        subjects=tenant.subjects.set(fact.subject, subject),
        schema_ids=tenant.schema_ids.set(fact.digest, fact.schema_id),
    )


def _manifest(tenant: Tenant, fact: PipelineCreated | PipelineUpdated) -> Tenant:
    version = ManifestVersion(bytes.fromhex(fact.digest.removeprefix("sha256:")), terms_in(fact.manifest))
    held = tenant.pipelines.get(fact.name, Pipeline((), Map()))
    pipeline = Pipeline((*held.versions, version), held.environments.set(fact.environment, fact.version))
    return tenant._replace(pipelines=tenant.pipelines.set(fact.name, pipeline))


def _run(tenant: Tenant, run_id: str, plan: PlanSummary) -> Tenant:
    newest = tenant.newest_runs
    for one in plan.data_partitions:
        newest = newest.set(place_of(plan.pipeline, plan.environment, one), run_id)
    return tenant.with_runs(tenant.runs.add(run_id, plan.pipeline), newest)


def _runs(tenant: Tenant, facts: Sequence[RunRequested]) -> Tenant:
    """As `_run` of one after the other."""
    newest = tenant.newest_runs.mutate()
    for fact in facts:
        plan = fact.plan
        for one in plan.data_partitions:
            newest[place_of(plan.pipeline, plan.environment, one)] = fact.run_id
    return tenant.with_runs(tenant.runs.add_all((fact.run_id, fact.plan.pipeline) for fact in facts), newest.finish())
