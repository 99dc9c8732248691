"""Routes: records, their proofs, the chain of a run, coverage; and the log as C2SP tlog-tiles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from barecount_chassis import Caller, ConsistencyToken, Problem, caller_of, require
from barecount_contracts import PLATFORM, Outcome
from barecount_readmodel import EVERY_TENANT, Connection, Database, Projector, Token, reach
from barecount_transparency import Tile, TileError, TlogProof, TreeRangeError, VerifyingKey, encode_bundle, leaf_hash, loads, tile_content
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse

from .answers import Chain, Consistency, CoverageShown, Leaf, LeafProof, Leaves, LogKey
from .domain.story import links
from .mirror import Mirror
from .views import checkpoints, coverage, records

TOKEN_SECONDS: Final = 2.0
PUBLISH_SECONDS: Final = 2.0
FOREVER: Final = "private, max-age=31536000, immutable"
OCTETS: Final[dict[str, Any]] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

router = APIRouter()
Reader = Annotated[Caller, require("evidence:read")]


@dataclass(frozen=True)
class Parts:
    """What the routes work with; app.py puts it into `app.state.parts`."""

    mirror: Mirror
    database: Database
    projector: Projector
    key: VerifyingKey
    secret: bytes


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _fresh(request: Request, parts: Annotated[Parts, Depends(_parts)], token: ConsistencyToken = None) -> Parts:
    """Waits until the read model has what the caller's token names."""
    if token is None:
        return parts
    tenant = caller_of(request).tenant
    await reach(parts.projector, token, parts.secret, tenant, topics=("evidence.ledger",))
    named = Token.decode(token, parts.secret, tenant).positions
    wanted = {(topic, partition): offset for topic, partition, offset in named if topic != "evidence.ledger"}

    async def there() -> bool | None:
        async with parts.database.query(EVERY_TENANT) as conn:
            return await coverage.reached(conn, wanted) or None

    if wanted and await parts.projector.until(there, TOKEN_SECONDS) is None:
        raise Problem("not-yet-projected", "the ledger does not hold the records that the token names yet")
    return parts


Fresh = Annotated[Parts, Depends(_fresh)]


@router.get("/evidence", response_model=None, responses={200: {"model": Leaves}})
async def search(
    caller: Reader,
    parts: Fresh,
    run_id: Annotated[str | None, Query(max_length=256)] = None,
    correlation: UUID | None = None,
    type: Annotated[str | None, Query(max_length=128)] = None,
    outcome: Outcome | None = None,
    subject_kind: Annotated[str | None, Query(max_length=64)] = None,
    subject_id: Annotated[str | None, Query(max_length=512)] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=0)] = None,
) -> dict[str, Any]:
    """The tenant's records that fit every filter, newest first. since and until: ISO 8601, half-open."""
    async with parts.database.query(caller.tenant) as conn:
        found = await records.find(
            conn, run_id=run_id, correlation=correlation, type=type, outcome=outcome, subject_kind=subject_kind, subject_id=subject_id,
            since=since, until=until, before=cursor, limit=limit + 1,
        )  # fmt: skip
    items = [_item(index, leaf) for index, leaf in found[:limit]]
    return {"items": items, "next_cursor": str(found[limit - 1][0]) if len(found) > limit else None}


@router.get("/evidence/records/{index}", response_model=None, responses={200: {"model": Leaf}})
async def record(caller: Reader, parts: Fresh, index: int) -> dict[str, Any]:
    """One leaf: its bytes as text, their hash, and what they say."""
    async with parts.database.query(caller.tenant) as conn:
        return _item(index, await _leaf(conn, index))


@router.get("/evidence/proof", response_model=None, responses={200: {"model": LeafProof}})
async def proof(caller: Reader, parts: Fresh, index: Annotated[int, Query(ge=0)], size: Annotated[int | None, Query(ge=1)] = None) -> Any:
    """The inclusion proof of a leaf under a published checkpoint: the newest, or the one of that size.

    `not-found` without such a leaf or checkpoint; `not-yet-projected` when none covers the leaf yet.
    """
    async with parts.database.query(caller.tenant) as conn:
        leaf = await _leaf(conn, index)
    if size is None and not await parts.mirror.covered(index, PUBLISH_SECONDS):
        raise Problem("not-yet-projected", f"no checkpoint covers leaf {index} yet")
    head = await _head(parts, caller, size)
    try:
        hashes = parts.mirror.ledger.tree.inclusion_proof(index, head.size)
    except TreeRangeError as error:
        raise Problem("not-found", f"the checkpoint of {head.size} leaves does not cover leaf {index}") from error
    return {
        **_item(index, leaf),
        "proof": [item.hex() for item in hashes],
        "checkpoint": _checkpoint(head),
        # not the log's `origin`: a record that a policy led to has a member of that name; the key names the log too
        "vkey": parts.key.vkey,
        "tlog_proof": TlogProof(index, tuple(hashes), head.note.encode()).encode().decode(),
    }


@router.get("/evidence/consistency", response_model=None, responses={200: {"model": Consistency}})
async def consistency(
    caller: Reader, parts: Fresh, old: Annotated[int, Query(alias="from", ge=0)], to: Annotated[int | None, Query(ge=1)] = None
) -> dict[str, Any]:
    """Shows that the ledger of `to` leaves (a published size; the newest unless said) begins with that of `from` leaves.

    `not-found` when no checkpoint of that size was published.
    """
    head = await _head(parts, caller, to)
    try:
        hashes = parts.mirror.ledger.tree.consistency_proof(old, head.size)
    except TreeRangeError as error:
        raise Problem("invalid-request", f"from={old} is larger than to={head.size}: give the older size first") from error
    return {"from": old, "to": head.size, "proof": [item.hex() for item in hashes], "checkpoint": _checkpoint(head), **_key(parts)}


@router.get("/evidence/chain", response_model=None, responses={200: {"model": Chain}})
async def chain(caller: Reader, parts: Fresh, run_id: Annotated[str, Query(min_length=1, max_length=256)]) -> dict[str, Any]:
    """Everything that belongs to a run, from the HTTP call to the commit, each proven under one checkpoint.

    `not-found` when your tenant has no such run.
    """
    async with parts.database.query(caller.tenant) as conn:
        found = await records.chain_of(conn, run_id)
    if not found:
        raise Problem("not-found", f"the ledger holds no record of run {run_id}")
    await parts.mirror.covered(found[-1][0], PUBLISH_SECONDS)
    head = await _head(parts, caller, None)
    tree = parts.mirror.ledger.tree
    # the read model and the checkpoint come from the same log: what is not covered yet is not shown as proven
    covered = [(index, told, leaf) for index, told, leaf in found if index < head.size]
    linked = {link.index: link for link in links([(index, told) for index, told, _ in covered])}
    items = [
        {
            **_item(index, leaf),
            "proof": [item.hex() for item in tree.inclusion_proof(index, head.size)],
            "parent": linked[index].parent,
            "why": linked[index].why,
            "relies_on": list(linked[index].relies_on),
        }
        for index, _, leaf in covered
    ]
    return {"run_id": run_id, "items": items, "pending": len(found) - len(covered), "checkpoint": _checkpoint(head), **_key(parts)}


@router.get("/evidence/coverage", response_model=None, responses={200: {"model": CoverageShown}})
async def covered(caller: Reader, parts: Fresh) -> dict[str, Any]:
    """How far the ledger has come in every source partition: all records below `next` are leaves, `count` of them, chained to `chain`."""
    async with parts.database.query(caller.tenant) as conn:
        items = await coverage.covered(conn)
        head = await checkpoints.head(conn)
    return {"items": items, "next_cursor": None, "checkpoint": None if head is None else _checkpoint(head)}


@router.get("/evidence/key", response_model=None, responses={200: {"model": LogKey}})
async def key(caller: Reader, parts: Annotated[Parts, Depends(_parts)]) -> dict[str, str]:
    """The log's name and the key that signs its checkpoints. Pin it: a key that changes is another log."""
    return _key(parts)


@router.get("/checkpoint", response_class=PlainTextResponse)
async def checkpoint(caller: Reader, parts: Fresh) -> Response:
    """The newest checkpoint (C2SP tlog-checkpoint). `not-found` before the first."""
    head = await _head(parts, caller, None)
    return PlainTextResponse(head.note, headers={"Cache-Control": "private, max-age=1"})


@router.get("/tile/{path:path}", response_class=Response, responses={200: OCTETS})
async def tile(caller: Reader, parts: Annotated[Parts, Depends(_parts)], path: str) -> Response:
    """A tile of hashes, or a bundle of entries (C2SP tlog-tiles). A bundle is for who may see all of it: the platform's own auditor."""
    try:
        wanted = Tile.parse(f"tile/{path}")
    except TileError as error:
        raise Problem("not-found", str(error)) from error
    published = parts.mirror.ledger.published
    if published is None or not wanted.covered_by(published.size):
        raise Problem("not-found", f"no published checkpoint has {wanted.path}")
    if not wanted.entries:
        return _octets(tile_content(parts.mirror.ledger.tree, wanted, published.size))
    async with parts.database.query(EVERY_TENANT if caller.tenant == PLATFORM else caller.tenant) as conn:
        entries = await records.bundle(conn, wanted.index * 256, wanted.width)
    if entries is None:
        raise Problem("not-found", f"no published checkpoint has {wanted.path} for this tenant")
    return _octets(encode_bundle(entries))


async def _leaf(conn: Connection, index: int) -> str:
    leaf = await records.one(conn, index) if 0 <= index < 2**63 else None
    if leaf is None:
        # the same words for another tenant's record and for none
        raise Problem("not-found", f"there is no record {index}")
    return leaf


async def _head(parts: Parts, caller: Caller, size: int | None) -> checkpoints.Head:
    """A published checkpoint that this process has verified on its way through the log: the newest, or the one of that size."""
    newest = parts.mirror.ledger.published
    found = newest if size is None or newest is None else parts.mirror.ledger.checkpoint(size)
    if found is not None:
        return checkpoints.Head(found.size, found.checkpoint.root.hex(), found.note.decode())
    if size is not None and newest is not None and size < newest.size:
        async with parts.database.query(caller.tenant) as conn:
            head = await checkpoints.head(conn, size)
        if head is not None:
            return head
    raise Problem("not-found", "nothing is signed yet" if size is None else f"no checkpoint of {size} leaves was published")


def _item(index: int, leaf: str) -> dict[str, Any]:
    told = loads(leaf)
    return {"index": index, "leaf_index": index, "leaf": leaf, "leaf_hash": leaf_hash(leaf.encode()).hex(), **_without_kind(told)}


def _without_kind(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in ("v",)}


def _checkpoint(head: checkpoints.Head) -> dict[str, Any]:
    return {"size": head.size, "root": head.root, "note": head.note}


def _key(parts: Parts) -> dict[str, str]:
    return {"origin": parts.key.name, "vkey": parts.key.vkey}


def _octets(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers={"Cache-Control": FOREVER})


@asynccontextmanager
async def serving(parts: Parts, state: Any) -> AsyncIterator[None]:
    """The routes work while this is open."""
    state.parts = parts
    yield
