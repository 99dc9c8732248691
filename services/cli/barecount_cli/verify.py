"""Checks the ledger with nothing but what it publishes: the service's word is never taken.

Steps: the checkpoint is signed by the ledger's key; it continues the last checkpoint that this machine saw (pinned outside the data
folder, so that a rolled-back ledger shows); each record of a run's chain is in the tree under that checkpoint; each leads to the
one that caused it; the Delta table's own log carries the commit that the chain ends in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barecount_transparency import (
    OpenedCheckpoint,
    TransparencyError,
    VerifyingKey,
    leaf_hash,
    open_checkpoint,
    verify_consistency,
    verify_inclusion,
)

from .client import Client
from .errors import CliError
from .settings import CliSettings

DELTA_FACT = "publication.delta_version"


class EvidenceError(CliError):
    """The evidence does not hold. This is an incident, not a usage error."""


@dataclass(frozen=True)
class Step:
    """One thing that was checked and holds."""

    name: str
    detail: str


@dataclass(frozen=True)
class Link:
    """One record of a chain, proven."""

    index: int
    hash: str
    record: dict[str, Any]
    parent: int | None


def verify_ledger(client: Client, settings: CliSettings) -> Iterator[Step]:
    """The newest checkpoint: signed, and a continuation of what this machine saw before.

    Raises: EvidenceError.
    """
    key = trusted_key(client, settings)
    opened = _open(client.text("/checkpoint").encode(), key)
    yield Step("checkpoint", f"{opened.checkpoint.size:,} leaves under root {opened.checkpoint.root.hex()[:16]}…, signed by {key.name}")
    yield _continues_pin(client, settings, key, opened)


def verify_chain(client: Client, settings: CliSettings, run_id: str) -> tuple[list[Step], list[Link]]:
    """Every record of a run's chain under one checkpoint, and the table's commit that it ends in.

    Raises: EvidenceError.
    """
    key = trusted_key(client, settings)
    answer = client.get("/evidence/chain", run_id=run_id)
    opened = _open(answer["checkpoint"]["note"].encode(), key)
    steps = [Step("checkpoint", f"{opened.checkpoint.size:,} leaves under root {opened.checkpoint.root.hex()[:16]}…, signed by {key.name}")]
    steps.append(_continues_pin(client, settings, key, opened))
    links = [_included(item, opened) for item in answer["items"]]
    if not links:
        raise EvidenceError(f"the ledger holds no record of run {run_id}", "Check the run id; `barecount runs` lists your tenant's runs.")
    steps.append(Step("inclusion", f"{len(links)} records of the chain are in the tree under that checkpoint"))
    steps.append(_connected(links))
    steps.extend(_delta_commits(settings, run_id, links))
    return steps, links


def trusted_key(client: Client, settings: CliSettings) -> VerifyingKey:
    """The ledger's key: from the data folder when it is here, else the one that this machine saw first at this address."""
    offered = client.get("/evidence/key")
    pem = settings.keys / "ledger.public.pem"
    if pem.exists():
        return VerifyingKey.from_pem(str(offered["origin"]), pem.read_bytes())
    first_seen = settings.state_dir / "keys" / "".join(c if c.isalnum() else "_" for c in client.address)
    if not first_seen.exists():
        _write(first_seen, str(offered["vkey"]))
    elif first_seen.read_text() != offered["vkey"]:
        raise EvidenceError(
            "the ledger shows another key than the one this machine saw first",
            f"If the installation was rebuilt on purpose, remove {first_seen}.",
        )
    return VerifyingKey.parse(str(offered["vkey"]))


def _open(note: bytes, key: VerifyingKey) -> OpenedCheckpoint:
    try:
        return open_checkpoint(note, key.name, key)
    except TransparencyError as error:
        raise EvidenceError(f"the checkpoint does not verify: {error}", "Do not trust this ledger; tell whoever runs it.") from error


def _continues_pin(client: Client, settings: CliSettings, key: VerifyingKey, opened: OpenedCheckpoint) -> Step:
    """Consistency with the checkpoint pinned for this key; then the newer of both is pinned."""
    now, pin = opened.checkpoint, settings.state_dir / "checkpoints" / f"{key.key_id.hex()}.json"
    pinned = json.dumps({"origin": key.name, "size": now.size, "root": now.root.hex()}) + "\n"
    if not pin.exists():
        _write(pin, pinned)
        return Step("continuity", "first checkpoint seen here; pinned")
    before = json.loads(pin.read_text())
    size, root = int(before["size"]), bytes.fromhex(before["root"])
    if now.size < size:
        raise EvidenceError(
            f"the ledger shows {now.size:,} leaves, but this machine saw {size:,} before",
            "The ledger was rolled back, or is still being read back after a start: ask again in a moment, then tell whoever runs it. "
            + _deliberate(pin),
        )
    hashes = client.get("/evidence/consistency", **{"from": size, "to": now.size})["proof"] if 0 < size < now.size else []
    try:
        verify_consistency(size, now.size, root, now.root, [bytes.fromhex(part) for part in hashes])
    except TransparencyError as error:
        raise EvidenceError(
            f"the ledger of {now.size:,} leaves does not continue the one of {size:,} leaves that this machine saw: {error}",
            "The ledger was rolled back or rewritten; tell whoever runs it. " + _deliberate(pin),
        ) from error
    if now.size > size:
        _write(pin, pinned)
    return Step("continuity", f"continues the checkpoint of {size:,} leaves that this machine saw before")


def _deliberate(pin: Path) -> str:
    return f"If an older log was restored on purpose (docs/backup-and-restore.md), what came after is lost: remove {pin} to begin anew."


def _included(item: dict[str, Any], opened: OpenedCheckpoint) -> Link:
    leaf = str(item["leaf"]).encode()
    proof = [bytes.fromhex(part) for part in item["proof"]]
    try:
        verify_inclusion(leaf_hash(leaf), int(item["index"]), opened.checkpoint.size, proof, opened.checkpoint.root)
    except TransparencyError as error:
        raise EvidenceError(
            f"record {item['index']} is not in the tree: {error}", "The record was changed after it was recorded."
        ) from error
    return Link(int(item["index"]), leaf_hash(leaf).hex(), json.loads(leaf), item.get("parent"))


def _connected(links: list[Link]) -> Step:
    """Every record either carries the command of a recorded HTTP call, or is the very leaf that a validation in the chain relied on.

    Raises: EvidenceError for a record that neither explains.
    """
    commands = {link.record.get("command_id") for link in links if link.record["type"] == "ApiCalled"} - {None}
    relied_on = {
        (link.record["facts"].get("facts.leaf_index"), link.record["facts"].get("facts.leaf_hash"))
        for link in links
        if link.record["correlation"] in commands
    }
    followed = [link for link in links if link.record["correlation"] in commands]
    others = [link for link in links if link.record["correlation"] not in commands]
    if not followed:
        raise EvidenceError(
            "no HTTP call of this chain names the command that began it", "Ask for the chain again when the ledger has caught up."
        )
    for link in others:
        if (link.index, link.hash) not in relied_on:
            raise EvidenceError(
                f"record {link.index} ({link.record['type']}) follows from no recorded call and no validation names it",
                "The chain is not what happened; tell whoever runs the ledger.",
            )
    detail = f"{len(followed)} records follow from the recorded HTTP call"
    return Step("causes", detail + (f", {len(others)} is the leaf that the validation relied on" if others else ""))


def _delta_commits(settings: CliSettings, run_id: str, links: list[Link]) -> Iterator[Step]:
    """The table's own log, read here when the lake is on this machine, says what the ledger says."""
    environment = next((link.record["facts"]["plan.environment"] for link in links if "plan.environment" in link.record["facts"]), None)
    for link in links:
        facts = link.record["facts"]
        if DELTA_FACT not in facts or link.record["subject"]["id"] != run_id:
            continue
        version, table = int(facts[DELTA_FACT]), str(facts["publication.table"])
        path = settings.data_dir / "lake" / link.record["tenant"] / str(environment) / table
        if path.exists():
            yield _delta_commit(path, version, run_id, facts)
        else:
            yield Step("delta commit", f"recorded as version {version} of {table}; its log was not read, because {path} is not here")


def _delta_commit(table: Path, version: int, run_id: str, facts: dict[str, Any]) -> Step:
    """Commit `version` of a Delta table names the run, the digest of its files and the ticket that the ledger names.

    Raises: EvidenceError.
    """
    remedy = "The table was changed behind the product's back; tell whoever runs it."
    try:
        lines = (table / "_delta_log" / f"{version:020}.json").read_text().splitlines()
        actions = [json.loads(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise EvidenceError(f"commit {version} of {table} cannot be read: {error}", remedy) from error
    info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    if info.get("barecount.run_id") != run_id:
        raise EvidenceError(f"commit {version} of {table} does not name run {run_id}, but {info.get('barecount.run_id')}", remedy)
    if info.get("barecount.files_digest", facts["publication.files_digest"]) != facts["publication.files_digest"]:
        raise EvidenceError(f"commit {version} of {table} has other files than the ledger says", remedy)
    tickets = {action["txn"]["appId"]: action["txn"]["version"] for action in actions if "txn" in action}
    if int(facts["publication.ticket"]) not in tickets.values():
        raise EvidenceError(f"commit {version} of {table} carries tickets {tickets}, the ledger says {facts['publication.ticket']}", remedy)
    return Step(
        "delta commit", f"version {version} of {table.name} names this run, its files' digest, and ticket {facts['publication.ticket']}"
    )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)
