"""The state as bytes for snapshots: equal states give equal bytes. A snapshot only saves time; the log is the truth."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

from barecount_contracts import LedgerFacts, PlanSummary
from immutables import Map

from .admitted import AdmittedRuns
from .state import (
    Asked,
    Contract,
    Decided,
    ManifestVersion,
    Pending,
    Pipeline,
    Publisher,
    Request,
    State,
    Subject,
    Tenant,
    Validated,
    Waiting,
    terms_of,
)
from .webhooks import dump_endpoint, load_endpoint

VERSION = "command-6"
"""Another shape of the state is another version: old snapshots are then passed by and the log is read from its beginning."""


def dump(state: State) -> bytes:
    """A line of JSON, then every tenant's runs as bytes, in the order of the tenants' names."""
    words, beside = {}, list[bytes]()
    for name, tenant in sorted(state.tenants.items()):
        runs, ids = tenant.runs.dump()
        words[name] = _dump_tenant(tenant, runs)
        beside.append(ids)
    line = json.dumps(words, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return b"".join([line.encode(), b"\n", *beside])


def load(blob: bytes) -> State:
    # there may be a hundred megabytes: a view copies none of them twice
    view, end = memoryview(blob), blob.index(b"\n")
    found, at = {}, end + 1
    for name, raw in json.loads(str(view[:end], "utf-8")).items():
        after = at + raw["runs"]["bytes"]
        found[name] = _load_tenant(raw, AdmittedRuns.load(raw["runs"], bytes(view[at:after])))
        at = after
    return State(Map(found))


def _dump_tenant(tenant: Tenant, runs: dict[str, Any]) -> dict[str, Any]:
    return {
        "contracts": {name: {v: [c.digest, c.size] for v, c in versions.items()} for name, versions in tenant.contracts.items()},
        "subjects": {name: [subject.versions, subject.text] for name, subject in tenant.subjects.items()},
        "schema_ids": dict(tenant.schema_ids),
        "pipelines": {name: _dump_pipeline(pipeline) for name, pipeline in tenant.pipelines.items()},
        "runs": runs,
        "newest_runs": dict(tenant.newest_runs),
        "requests": {name: _dump_request(request) for name, request in tenant.requests.items()},
        "publishers": {name: _dump_publisher(one) for name, one in tenant.publishers.items()},
        "webhooks": {name: dump_endpoint(endpoint) for name, endpoint in tenant.webhooks.items()},
    }


def _load_tenant(raw: dict[str, Any], runs: AdmittedRuns) -> Tenant:
    return Tenant(
        contracts=Map({name: Map({v: Contract(*c) for v, c in versions.items()}) for name, versions in raw["contracts"].items()}),
        subjects=Map({name: Subject(tuple((d, i) for d, i in held), text) for name, (held, text) in raw["subjects"].items()}),
        schema_ids=Map(raw["schema_ids"]),
        pipelines=Map({name: _load_pipeline(one) for name, one in raw["pipelines"].items()}),
        runs=runs,
        newest_runs=Map(raw["newest_runs"]),
        requests=Map({name: _load_request(one) for name, one in raw["requests"].items()}),
        publishers=Map({name: _load_publisher(one) for name, one in raw["publishers"].items()}),
        webhooks=Map({name: load_endpoint(one) for name, one in raw["webhooks"].items()}),
    )


def _dump_pipeline(pipeline: Pipeline) -> list[Any]:
    """Digests in one text, each of the terms once, and which of them every version has."""
    held = pipeline.versions
    terms = list(dict.fromkeys(version.terms for version in held))
    numbered = {one: number for number, one in enumerate(terms)}
    which = [numbered[version.terms] for version in held]
    digests = b"".join(version.sha256 for version in held).hex()
    return [digests, [astuple(one) for one in terms], which, dict(pipeline.environments), pipeline.deleted]


def _load_pipeline(raw: list[Any]) -> Pipeline:
    digests, several, which, environments, deleted = raw
    every, terms = bytes.fromhex(digests), [terms_of(tuple(contract), *more) for contract, *more in several]
    versions = tuple(ManifestVersion(every[32 * at : 32 * at + 32], terms[number]) for at, number in enumerate(which))
    return Pipeline(versions, Map(environments), deleted)


def _dump_request(request: Request) -> list[Any]:
    match request:
        case Pending(asked):
            return ["pending", _words(asked)]
        case Validated(asked, plan, digest, facts):
            return ["validated", _words(asked), _part(plan), digest, _part(facts)]
        case Waiting(asked, plan, digest, facts, newest_run):
            return ["waiting", _words(asked), _part(plan), digest, _part(facts), newest_run]
        case Decided(outcome):
            return ["decided", outcome]


def _load_request(raw: list[Any]) -> Request:
    match raw:
        case ["pending", words]:
            return Pending(Asked(*words))
        case ["validated", words, plan, digest, facts]:
            return Validated(Asked(*words), PlanSummary.model_validate(plan), digest, LedgerFacts.model_validate(facts))
        case ["waiting", words, plan, digest, facts, newest_run]:
            return Waiting(Asked(*words), PlanSummary.model_validate(plan), digest, LedgerFacts.model_validate(facts), newest_run)
        case ["decided", outcome]:
            return Decided(outcome)
        case _:
            raise ValueError(f"a request in the snapshot has an unknown form: {raw[:1]}")


def _dump_publisher(one: Publisher) -> list[Any]:
    return [one.public_key, one.roles, one.description, sorted(one.registrars), one.revoked]


def _load_publisher(raw: list[Any]) -> Publisher:
    key, roles, description, registrars, revoked = raw
    return Publisher(key, tuple(roles), description, frozenset(registrars), revoked)


def _words(asked: Asked) -> list[str]:
    return [asked.run_id, asked.contract_version, asked.data_partition, asked.manifest_version, asked.requested_by, asked.correlation]


def _part(part: PlanSummary | LedgerFacts) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude_none=True)
