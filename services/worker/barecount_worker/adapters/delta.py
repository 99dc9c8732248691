"""Publishing a data partition of a Delta table behind a fence.

The fence is Delta's application transaction (protocol, "Transaction Identifiers"): per data partition an app id and a number that
execution grants and that only grows. delta-rs does not compare the numbers, so publishing is always two steps on one table handle:

    look    open the table, read the current number, refuse when it is not below ours
    commit  on that same handle; whoever moved the number since then makes the commit fail (optimistic concurrency)

A look that is refreshed in between would let a zombie through: a `Look` is used up by one commit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from barecount_worker.domain.failure import ErrorType, StageFailed

_CONFLICTS_TAKEN = 20
_PREFIX = "barecount."
# the table's log leads back to the evidence: it is kept; replaced files stay as long as a rollback is promised
_KEPT = {"delta.logRetentionDuration": "interval 36500 days", "delta.deletedFileRetentionDuration": "interval 30 days"}


@dataclass(frozen=True, slots=True)
class Target:
    """One data partition of one table: `schema` includes the partition column, which the files leave out."""

    location: Path
    app_id: str
    partition_column: str
    data_partition: str
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file inside the table's folder, ready to be committed."""

    path: str
    size: int
    records: int


@dataclass(frozen=True, slots=True)
class Published:
    """A publication in the table's log. `already`: it was found there, this attempt committed nothing."""

    version: int
    number: int
    files_digest: str
    records: int
    run_id: str
    already: bool


@dataclass(frozen=True, slots=True)
class Fenced:
    """The fence stands at `number`; `before` is the publication that was current when it was set, if any."""

    number: int
    version: int
    before: Published | None


@dataclass(slots=True)
class Look:
    """The table as it was at one moment, and the number that was current then. Good for one commit."""

    table: DeltaTable
    number: int | None
    used: bool = False


def look(target: Target) -> Look:
    """Open the table (created when it is new) and read the current number. StageFailed when its columns are not the contract's."""
    try:
        table = DeltaTable(target.location)
    except TableNotFoundError:
        target.location.mkdir(parents=True, exist_ok=True)
        wanted = Schema.from_arrow(target.schema)
        table = DeltaTable.create(target.location, wanted, mode="ignore", partition_by=[target.partition_column], configuration=_KEPT)
    have, want = table.schema().to_json(), Schema.from_arrow(target.schema).to_json()
    if json.loads(have)["fields"] != json.loads(want)["fields"]:
        message = f"table {target.location.name} has other columns than its contract: {_columns(have)} against {_columns(want)}"
        raise StageFailed(ErrorType.TABLE_SCHEMA_DIFFERS, f"{message}; publish under a new table path, or evolve the table first")
    return Look(table, table.transaction_version(target.app_id))


def publish(
    target: Target,
    number: int,
    files: Sequence[DataFile],
    files_digest: str,
    metadata: Mapping[str, str],
    *,
    fence_number: int | None = None,
    superseded: Collection[int] = (),
    seen: Look | None = None,
) -> Published:
    """Replace the data partition by `files` in one commit under `number`.

    `superseded` are the numbers under which earlier attempts of the same run may have published: if one did, that publication is
    given back with `already`; else the fence is moved to `fence_number` first, so that none of them can any more.
    `seen` is a look taken before; by default it is taken here. Raises StageFailed: fenced, table-busy, table-schema-differs.
    """
    seen = seen or look(target)
    for _ in range(_CONFLICTS_TAKEN):
        if (found := _already(seen, target, {number, *superseded})) is not None:
            return found
        _refuse(seen, target, number)
        try:
            if superseded and fence_number is not None and (seen.number is None or seen.number < fence_number):
                _commit(seen, target, fence_number, None, {**metadata, **_before(seen, target), "kind": "fence"})
                seen = look(target)
                continue
            records = sum(file.records for file in files)
            said = {**metadata, "kind": "publish", "files_digest": files_digest, "records": str(records)}
            version = _commit(seen, target, number, files, said)
            return Published(version, number, files_digest, records, metadata.get("run_id", ""), already=False)
        except CommitFailedError:
            seen = look(target)
    raise StageFailed(ErrorType.TABLE_BUSY, f"{target.location.name}: {_CONFLICTS_TAKEN} commits in a row met others' commits")


def fence(target: Target, number: int, metadata: Mapping[str, str]) -> Fenced:
    """Move the number without data: after this commit nothing of an attempt with a smaller number can appear.

    Gives the publication that was current before, so that a cancel knows whether there is something to roll back. Repeating it changes
    nothing. Raises StageFailed: fenced (a larger number is current), table-busy.
    """
    for _ in range(_CONFLICTS_TAKEN):
        seen = look(target)
        if seen.number == number:
            return Fenced(number, seen.table.version(), _current(seen, target))
        _refuse(seen, target, number)
        before = _current(seen, target)
        try:
            version = _commit(seen, target, number, None, {**metadata, **_before(seen, target), "kind": "fence"})
            return Fenced(number, version, before)
        except CommitFailedError:
            continue
    raise StageFailed(ErrorType.TABLE_BUSY, f"{target.location.name}: {_CONFLICTS_TAKEN} commits in a row met others' commits")


def rollback(target: Target, number: int, published: int, metadata: Mapping[str, str]) -> Published:
    """Put back what the data partition held before the publication with the number `published`, by metadata only.

    A data partition that was empty before is empty again. Refused (fenced) when a later publication owns the data partition: the message
    names its run. StageFailed io-error when files of before are gone (vacuumed).
    """
    for _ in range(_CONFLICTS_TAKEN):
        seen = look(target)
        current = _current(seen, target)
        if seen.number == number and current is not None:
            return _as_found(current)
        _refuse(seen, target, number)
        if current is None or current.number != published:
            owner = f"run {current.run_id} (number {current.number})" if current else "nobody"
            raise StageFailed(ErrorType.FENCED, f"data partition {target.data_partition} is owned by {owner}, not by number {published}")
        files = _files(DeltaTable(target.location, version=current.version - 1), target)
        missing = [file.path for file in files if not (target.location / file.path).exists()]
        if missing:
            raise StageFailed(ErrorType.IO_ERROR, f"rollback incomplete: files of before were vacuumed: {', '.join(missing)}")
        earlier = _publication_before(seen, target, current.version)
        said = {**metadata, "kind": "rollback", "rolled_back": str(published), "files_digest": earlier.files_digest if earlier else ""}
        try:
            version = _commit(seen, target, number, files, {**said, "records": str(sum(file.records for file in files))})
        except CommitFailedError:
            continue
        records = sum(file.records for file in files)
        return Published(version, number, said["files_digest"], records, metadata.get("run_id", ""), already=False)
    raise StageFailed(ErrorType.TABLE_BUSY, f"{target.location.name}: {_CONFLICTS_TAKEN} commits in a row met others' commits")


def published(target: Target) -> Published | None:
    """What the data partition holds now, by the table's own log; None when nothing was published."""
    return _current(look(target), target)


def _refuse(seen: Look, target: Target, number: int) -> None:
    if seen.number is not None and seen.number >= number:
        message = f"{target.app_id} of {target.location.name} stands at number {seen.number}; number {number} may publish no more"
        raise StageFailed(ErrorType.FENCED, message)


def _commit(seen: Look, target: Target, number: int, files: Sequence[DataFile] | None, said: Mapping[str, str]) -> int:
    """One commit on the handle of the look; `files` None moves the number only, an empty list empties the data partition."""
    if seen.used:
        raise RuntimeError("a look is good for one commit: look again")
    seen.used = True
    column, value = target.partition_column, target.data_partition
    adds: list[AddAction | RemoveAction] = [
        AddAction(file.path, file.size, {column: value}, 0, True, json.dumps({"numRecords": file.records})) for file in files or ()
    ]
    described = {**said, "app_id": target.app_id, "number": str(number)}
    seen.table.create_write_transaction(
        adds,
        mode="append" if files is None else "overwrite",
        schema=target.schema,
        partition_by=[column],
        partition_filters=None if files is None else [(column, "in", [value])],
        commit_properties=CommitProperties(
            app_transactions=[Transaction(target.app_id, number)],
            custom_metadata={_PREFIX + key: text for key, text in described.items()},
        ),
    )
    return _version_of(seen.table, target, number)


def _version_of(table: DeltaTable, target: Target, number: int) -> int:
    """The version that a commit got: the handle stays where it looked, and others may have committed before and after."""
    table.update_incremental()
    for entry in _log(table):
        if entry.get(_PREFIX + "app_id") == target.app_id and entry.get(_PREFIX + "number") == str(number):
            return int(entry["version"])
    raise StageFailed(ErrorType.IO_ERROR, f"the commit of number {number} is not in the log of {target.location.name}")


def _log(table: DeltaTable) -> Iterator[dict[str, Any]]:
    """The table's commits, newest first; what is looked for is nearly always among the newest."""
    read = 0
    for depth in (64, 1024, None):
        entries = table.history(depth)
        yield from entries[read:]
        read = len(entries)
        if depth is None or read < depth:
            return


def _already(seen: Look, target: Target, numbers: Collection[int]) -> Published | None:
    """The current publication, if it was made under one of `numbers`."""
    if seen.number is None or seen.number < min(numbers):
        return None
    current = _current(seen, target)
    return _as_found(current) if current is not None and current.number in numbers else None


def _as_found(found: Published) -> Published:
    return Published(found.version, found.number, found.files_digest, found.records, found.run_id, already=True)


def _before(seen: Look, target: Target) -> dict[str, str]:
    current = _current(seen, target)
    return {"published_before": f"{current.number}@{current.version}"} if current else {}


def _current(seen: Look, target: Target) -> Published | None:
    if seen.number is None:
        return None
    return _publication_before(seen, target, seen.table.version() + 1)


def _publication_before(seen: Look, target: Target, version: int) -> Published | None:
    """The newest publication or rollback of the data partition in a commit before `version`, by the table's log, newest first."""
    for entry in _log(seen.table):
        mine = entry["version"] < version and entry.get(_PREFIX + "app_id") == target.app_id
        if mine and entry.get(_PREFIX + "kind") in {"publish", "rollback"}:
            return _publication(entry)
    return None


def _publication(entry: Mapping[str, Any]) -> Published:
    def said(key: str) -> str:
        return str(entry.get(_PREFIX + key, ""))

    return Published(int(entry["version"]), int(said("number")), said("files_digest"), int(said("records") or 0), said("run_id"), False)


def _files(table: DeltaTable, target: Target) -> list[DataFile]:
    """The files that a data partition held in some version of the table."""
    rows = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    mine = [row for row in rows if str(row[f"partition.{target.partition_column}"]) == target.data_partition]
    return [DataFile(row["path"], row["size_bytes"], row["num_records"] or 0) for row in mine]


def _columns(schema: str) -> str:
    return ", ".join(f"{field['name']} {field['type']}" for field in json.loads(schema)["fields"])
