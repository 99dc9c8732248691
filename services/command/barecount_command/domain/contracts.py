"""Contracts and schemas: register a version once, never change it, keep what readers rely on."""

from __future__ import annotations

import json
from typing import Any

from barecount_contracts import ContractRegistered, RegisterContract, RegisterSchema, SchemaRegistered
from barecount_eventlog import Emit, Inbound
from barecount_manifest import NotCanonical, Problem, canonical_bytes, digest, json_schema_of, validate_contract
from jsonschema import Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError

from .answers import refuse, refuse_with, unchanged
from .compatibility import backward
from .state import Subject, Tenant

LARGEST = 262_144
"""Bytes of one document in canonical form: what derives from it still fits a record of 1 MiB."""
DEEPEST = 64
DIALECTS = {
    str(judge.META_SCHEMA["$schema"]).rstrip("#"): judge
    for judge in (Draft202012Validator, Draft201909Validator, Draft7Validator, Draft6Validator, Draft4Validator)
}


def register_contract(tenant: Tenant, inbound: Inbound, command: RegisterContract) -> list[Emit]:
    """ContractRegistered and, for every object whose schema is new, SchemaRegistered."""
    what = f"contract {command.name} {command.version}"
    try:
        size = len(canonical_bytes(command.document))
    except NotCanonical as error:
        return refuse_with(inbound, "invalid-contract", what, [Problem("", str(error), "use plain JSON values")])
    if size > LARGEST:
        return refuse(inbound, "payload-too-large", f"{what} has {size} bytes; a document may have {LARGEST}")
    if problems := (*validate_contract(command.document), *_named_otherwise(command)):
        return refuse_with(inbound, "invalid-contract", what, problems)
    fingerprint = digest(command.document)
    versions = tenant.contracts.get(command.name)
    known = versions.get(command.version) if versions else None
    if known is not None:
        if known.digest == fingerprint:
            return unchanged(inbound)
        detail = f"{what} is registered as {known.digest}; the document sent is {fingerprint}"
        return refuse(inbound, "contract-exists", detail, digest=known.digest)
    return _registered(tenant, inbound, command, fingerprint)


def register_schema(tenant: Tenant, inbound: Inbound, command: RegisterSchema) -> list[Emit]:
    """SchemaRegistered; a content that the subject has already is no new version."""
    what = f"the schema for {command.subject}"
    if not command.subject or len(command.subject) > 255:
        return refuse(inbound, "invalid-schema", "a subject has 1 to 255 characters")
    schema = parse_schema(command.schema_text)
    if isinstance(schema, str):
        return refuse(inbound, "invalid-schema", f"{what} {schema}")
    subject = tenant.subjects.get(command.subject)
    fingerprint = digest(schema)
    if subject and any(fingerprint == held for held, _ in subject.versions):
        return unchanged(inbound)
    if subject and (broken := backward(json.loads(subject.text), schema)):
        return _incompatible(inbound, command.subject, subject, broken)
    return [Emit(_next_version(tenant, command.subject, fingerprint, command.schema_text, taken=0))]


def parse_schema(text: str) -> dict[str, Any] | str:
    """The schema of a text, or what is wrong with it."""
    if len(text.encode("utf-8", "replace")) > LARGEST:
        return f"is larger than {LARGEST} bytes"
    try:
        schema = json.loads(text)
        canonical_bytes(schema)
    except (ValueError, RecursionError, NotCanonical) as error:
        return f"is not JSON: {str(error)[:200]}"
    if not isinstance(schema, dict):
        return "is not a JSON object"
    if _deeper(schema, DEEPEST):
        return f"nests deeper than {DEEPEST}"
    dialect = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    judge = DIALECTS.get(dialect.rstrip("#")) if isinstance(dialect, str) else None
    if judge is None:
        return f"names the dialect {dialect!r}, which is not known here; use https://json-schema.org/draft/2020-12/schema"
    try:
        judge.check_schema(schema)
    except SchemaError as error:
        return f"is not a JSON Schema: at /{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:300]}"
    return schema


def _deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _deeper(one, levels - 1) for one in inner if isinstance(one, dict | list))


def subject_of(tenant: str, contract: str, name: str) -> str:
    """The registry subject of a contract's object."""
    return f"{tenant}.{contract}-{name}"


def _named_otherwise(command: RegisterContract) -> list[Problem]:
    """The command's name and version are the document's own."""
    return [
        Problem(f"/{key}", f"is {command.document.get(key)!r}, the command says {said!r}", "name the contract as its document does")
        for key, said in (("name", command.name), ("version", command.version))
        if command.document.get(key) != said
    ]


def _registered(tenant: Tenant, inbound: Inbound, command: RegisterContract, fingerprint: str) -> list[Emit]:
    names: list[str] = [item["name"] for item in command.document["schema"]]
    schemas = {name: json_schema_of(command.document, name) for name in names}
    subjects = {name: subject_of(inbound.command.tenant, command.name, name) for name in names}
    if sum(len(canonical_bytes(schema)) for schema in schemas.values()) > LARGEST:
        return refuse(inbound, "payload-too-large", f"the JSON Schemas of contract {command.name} have more than {LARGEST} bytes")
    new: list[SchemaRegistered] = []
    for name in names:
        held, prints = tenant.subjects.get(subjects[name]), digest(schemas[name])
        if held and any(prints == one for one, _ in held.versions):
            continue
        if held and (broken := backward(json.loads(held.text), schemas[name])):
            return _incompatible(inbound, subjects[name], held, broken)
        text = canonical_bytes(schemas[name]).decode()
        taken = len({one.schema_id for one in new if one.schema_id > len(tenant.schema_ids)})
        new.append(_next_version(tenant, subjects[name], prints, text, taken=taken))
    event = ContractRegistered(
        name=command.name,
        version=command.version,
        digest=fingerprint,
        document=command.document,
        schemas=schemas,
        subjects=subjects,
    )
    return [Emit(event), *(Emit(schema) for schema in new)]


def _next_version(tenant: Tenant, subject: str, fingerprint: str, text: str, *, taken: int) -> SchemaRegistered:
    """`taken`: new ids that this command gave already. Objects of one contract differ by their titles, so no two share a content."""
    held = tenant.subjects.get(subject)
    known = tenant.schema_ids.get(fingerprint)
    return SchemaRegistered(
        subject=subject,
        schema_version=len(held.versions) + 1 if held else 1,
        schema_id=known if known is not None else len(tenant.schema_ids) + taken + 1,
        digest=fingerprint,
        schema_text=text,
    )


def _incompatible(inbound: Inbound, subject: str, held: Subject, broken: tuple[str, ...]) -> list[Emit]:
    detail = f"{subject} version {len(held.versions)}: readers of the new schema could not read what was written: {'; '.join(broken[:3])}"
    return refuse(inbound, "incompatible-schema", detail, subject=subject, version=len(held.versions), messages=list(broken[:50]))
