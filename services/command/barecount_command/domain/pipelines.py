"""Pipelines: create, give a new manifest version, promote between environments, retire."""

from __future__ import annotations

from typing import Any

from barecount_contracts import (
    CreatePipeline,
    DeletePipeline,
    PipelineCreated,
    PipelineDeleted,
    PipelinePromoted,
    PipelineUpdated,
    PromotePipeline,
    UpdatePipeline,
    bytes_digest,
)
from barecount_eventlog import Emit, Inbound
from barecount_manifest import Manifest, ManifestInvalid, NotCanonical, canonical_bytes, parse, referenced_contracts

from .answers import refuse, refuse_with, unchanged
from .state import ENVIRONMENTS, Pipeline, Tenant

LARGEST_BODIES = 786_432
"""Bytes of a manifest with all its contracts: a task carries them in one record of 1 MiB."""


def create_pipeline(tenant: Tenant, inbound: Inbound, command: CreatePipeline) -> list[Emit]:
    """PipelineCreated: version 1, deployed in dev."""
    known = tenant.pipelines.get(command.name)
    if known is not None and known.deleted:
        return refuse(inbound, "pipeline-deleted", f"pipeline {command.name} is retired; its name is not used again")
    if known is not None:
        return refuse(inbound, "pipeline-exists", f"pipeline {command.name} exists with version {known.newest}", version=known.newest)
    fingerprint = _judge(tenant, inbound, command.name, command.manifest)
    if isinstance(fingerprint, list):
        return fingerprint
    return [Emit(PipelineCreated(name=command.name, version=1, digest=fingerprint, manifest=command.manifest))]


def update_pipeline(tenant: Tenant, inbound: Inbound, command: UpdatePipeline) -> list[Emit]:
    """PipelineUpdated: the next version, deployed in dev. The newest manifest again changes nothing."""
    known = _alive(tenant, inbound, command.name)
    if isinstance(known, list):
        return known
    if command.expected_version not in (None, known.newest):
        detail = f"pipeline {command.name} is at version {known.newest}, not {command.expected_version}"
        return refuse(inbound, "version-conflict", detail, newest=known.newest)
    fingerprint = _judge(tenant, inbound, command.name, command.manifest)
    if isinstance(fingerprint, list):
        return fingerprint
    if known.versions[-1].digest == fingerprint:
        return unchanged(inbound)
    event = PipelineUpdated(name=command.name, version=known.newest + 1, digest=fingerprint, manifest=command.manifest)
    return [Emit(event)]


def promote_pipeline(tenant: Tenant, inbound: Inbound, command: PromotePipeline) -> list[Emit]:
    """PipelinePromoted: towards prod only (dev, staging, prod; dev to prod directly is allowed)."""
    known = _alive(tenant, inbound, command.name)
    if isinstance(known, list):
        return known
    source, target = command.from_environment, command.to_environment
    if ENVIRONMENTS.index(source) >= ENVIRONMENTS.index(target):
        return refuse(inbound, "invalid-request", f"promotion goes from dev over staging to prod, not from {source} to {target}")
    number = known.environments.get(source)
    if number is None:
        return refuse(inbound, "nothing-to-promote", f"{source} runs no version of {command.name}", environments=dict(known.environments))
    if command.version not in (None, number):
        detail = f"{source} runs version {number} of {command.name}, not {command.version}"
        return refuse(inbound, "version-conflict", detail, environments=dict(known.environments))
    if known.environments.get(target) == number:
        detail = f"{target} runs version {number} of {command.name} already"
        return refuse(inbound, "nothing-to-promote", detail, environments=dict(known.environments))
    event = PipelinePromoted(
        name=command.name,
        version=number,
        digest=known.versions[number - 1].digest,
        from_environment=source,
        to_environment=target,
    )
    return [Emit(event)]


def delete_pipeline(tenant: Tenant, inbound: Inbound, command: DeletePipeline) -> list[Emit]:
    """PipelineDeleted: nothing of it starts any more; history stays."""
    known = _alive(tenant, inbound, command.name)
    if isinstance(known, list):
        return known
    return [Emit(PipelineDeleted(name=command.name, last_version=known.newest))]


def _alive(tenant: Tenant, inbound: Inbound, name: str) -> Pipeline | list[Emit]:
    """The pipeline, or the refusal that there is none or none any more."""
    known = tenant.pipelines.get(name)
    if known is None:
        return refuse(inbound, "pipeline-not-found", f"there is no pipeline {name}")
    if known.deleted:
        return refuse(inbound, "pipeline-deleted", f"pipeline {name} is retired")
    return known


def _judge(tenant: Tenant, inbound: Inbound, name: str, document: dict[str, Any]) -> str | list[Emit]:
    """The digest of a manifest that can be taken, or why it cannot."""
    try:
        manifest = parse(document)
        canonical = canonical_bytes(document)
    except ManifestInvalid as error:
        return refuse_with(inbound, "invalid-manifest", f"the manifest of {name}", error.problems)
    except NotCanonical as error:
        return refuse(inbound, "invalid-manifest", f"the manifest of {name} {error}")
    if manifest.name != name:
        return refuse(inbound, "name-mismatch", f"the command is for {name}, the manifest's name is {manifest.name}")
    if refused := _unregistered(tenant, inbound, manifest):
        return refused
    size = len(canonical) + sum(tenant.contracts[ref.name][ref.version].size for ref in referenced_contracts(manifest))
    if size > LARGEST_BODIES:
        return refuse(inbound, "payload-too-large", f"manifest {name} and its contracts have {size} bytes; a task carries {LARGEST_BODIES}")
    return bytes_digest(canonical)


def _unregistered(tenant: Tenant, inbound: Inbound, manifest: Manifest) -> list[Emit]:
    missing = [ref for ref in referenced_contracts(manifest) if ref.version not in tenant.contracts.get(ref.name, {})]
    if not missing:
        return []
    code = "unknown-contract" if any(ref.name not in tenant.contracts for ref in missing) else "unknown-contract-version"
    # of a known name only its versions help, else everything that there is
    names = set(tenant.contracts) if code == "unknown-contract" else {ref.name for ref in missing}
    named = ", ".join(f"{ref.name} {ref.version}" for ref in missing)
    return refuse(
        inbound,
        code,
        f"manifest {manifest.name} names what is not registered: {named}",
        missing=[{"name": ref.name, "version": ref.version} for ref in missing],
        exists=registered(tenant, names),
    )


def registered(tenant: Tenant, names: set[str]) -> list[dict[str, str]]:
    """Contract versions of these names, as {"name", "version"}; the first 200."""
    found = [{"name": name, "version": version} for name in sorted(names) for version in sorted(tenant.contracts.get(name, {}))]
    return found[:200]
