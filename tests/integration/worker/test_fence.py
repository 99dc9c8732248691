"""The fence of a data partition: a frozen attempt that wakes late can publish nothing.

A freeze is what it is to the table: time that passes between an attempt's look and its commit, or before its look.
The judge is the Delta table, read by another handle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from barecount_worker.adapters import delta
from barecount_worker.domain.failure import ErrorType, StageFailed
from deltalake import DeltaTable

SCHEMA = pa.schema([("day", pa.date32()), ("revenue", pa.decimal128(18, 2))])
Publish = Callable[..., delta.Published]


def target(folder: Path, day: str = "2025-10-04") -> delta.Target:
    return delta.Target(folder / "t", f"acme/prod/p/{day}", "day", day, SCHEMA)


def a_file(where: delta.Target, revenue: str) -> delta.DataFile:
    path = where.location / f"day={where.data_partition}" / f"{revenue}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.connect().execute(f"COPY (SELECT CAST('{revenue}' AS DECIMAL(18,2)) AS revenue) TO '{path}' (FORMAT parquet)")
    return delta.DataFile(str(path.relative_to(where.location)), path.stat().st_size, 1)


def publish(
    where: delta.Target, number: int, revenue: str, superseded: tuple[int, ...] = (), seen: delta.Look | None = None, run: str = "run-1"
) -> delta.Published:
    made = a_file(where, revenue)
    metadata = {"run_id": run}
    fence = number - 1 if superseded else None
    return delta.publish(where, number, [made], f"sha256:{revenue}", metadata, fence_number=fence, superseded=superseded, seen=seen)


def revenues(where: delta.Target) -> list[str]:
    rows = DeltaTable(where.location).to_pyarrow_table(columns=["day", "revenue"]).to_pylist()
    return sorted(str(row["revenue"]) for row in rows if str(row["day"]) == where.data_partition)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(StageFailed) as failed:
        act()
    assert failed.value.error_type is ErrorType.FENCED
    assert not failed.value.retriable
    return failed.value.message


def test_an_attempt_frozen_between_look_and_commit_is_refused_after_its_successor_published(tmp_path: Path) -> None:
    where = target(tmp_path)
    frozen = delta.look(where)
    assert not publish(where, 5, "2.00", superseded=(3,)).already
    refused(lambda: publish(where, 3, "1.00", seen=frozen))
    assert revenues(where) == ["2.00"]


def test_an_attempt_frozen_between_look_and_commit_is_refused_when_only_the_fence_was_set(tmp_path: Path) -> None:
    where = target(tmp_path)
    frozen = delta.look(where)
    assert delta.fence(where, 4, {}).before is None
    refused(lambda: publish(where, 3, "1.00", seen=frozen))
    assert revenues(where) == []


def test_an_attempt_frozen_before_its_look_is_refused(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 5, "2.00", superseded=(3,))
    refused(lambda: publish(where, 3, "1.00"))
    delta.fence(where, 7, {})
    assert "stands at number 7" in refused(lambda: publish(where, 6, "3.00"))
    assert revenues(where) == ["2.00"]


def test_an_attempt_of_an_earlier_run_that_wakes_late_is_refused(tmp_path: Path) -> None:
    where = target(tmp_path)
    frozen = delta.look(where)
    publish(where, 5, "2.00", run="run-2")
    refused(lambda: publish(where, 3, "1.00", seen=frozen, run="run-1"))
    assert revenues(where) == ["2.00"]


def test_a_successor_finds_what_an_attempt_had_published_before_it_died(tmp_path: Path) -> None:
    where = target(tmp_path)
    first = publish(where, 3, "1.00")
    found = publish(where, 5, "1.00", superseded=(3,))
    assert (found.already, found.number, found.version, found.files_digest) == (True, 3, first.version, "sha256:1.00")
    assert DeltaTable(where.location).version() == first.version


def test_a_successor_that_looked_before_the_attempt_published_finds_it_all_the_same(tmp_path: Path) -> None:
    where = target(tmp_path)
    looked = delta.look(where)
    first = publish(where, 3, "1.00")
    found = publish(where, 5, "2.00", superseded=(3,), seen=looked)
    assert (found.already, found.number, found.version) == (True, 3, first.version)
    assert revenues(where) == ["1.00"]


def test_a_successor_of_a_successor_that_died_after_its_fence_publishes(tmp_path: Path) -> None:
    where = target(tmp_path)
    delta.fence(where, 4, {"run_id": "run-1"})
    made = publish(where, 7, "3.00", superseded=(3, 5))
    assert (made.already, made.number) == (False, 7)
    refused(lambda: publish(where, 5, "2.00"))
    assert revenues(where) == ["3.00"]


def test_a_publication_behind_a_later_fence_is_still_found(tmp_path: Path) -> None:
    where = target(tmp_path)
    first = publish(where, 3, "1.00")
    delta.fence(where, 4, {"run_id": "run-1"})
    found = publish(where, 7, "1.00", superseded=(3, 5))
    assert (found.already, found.number, found.version) == (True, 3, first.version)


def test_publishing_twice_under_one_number_commits_once(tmp_path: Path) -> None:
    where = target(tmp_path)
    first, again = publish(where, 3, "1.00"), publish(where, 3, "1.00")
    assert (first.already, again.already, again.version) == (False, True, first.version)


def test_a_fence_tells_what_was_published_before_it_and_repeats_itself(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 3, "1.00")
    first, again = delta.fence(where, 5, {}), delta.fence(where, 5, {})
    assert first == again
    assert first.before is not None
    assert first.before.number == 3
    assert revenues(where) == ["1.00"]
    refused(lambda: delta.fence(where, 4, {}))


def test_a_look_is_good_for_one_commit(tmp_path: Path) -> None:
    where = target(tmp_path)
    looked = delta.look(where)
    publish(where, 3, "1.00", seen=looked)
    with pytest.raises(RuntimeError, match="look again"):
        delta._commit(looked, where, 4, None, {})


def test_data_partitions_do_not_fence_each_other_and_keep_each_others_rows(tmp_path: Path) -> None:
    one, two = target(tmp_path, "2025-10-04"), target(tmp_path, "2025-10-05")
    looked = delta.look(one)
    publish(two, 9, "9.00")
    made = publish(one, 3, "1.00", seen=looked)
    assert (revenues(one), revenues(two)) == (["1.00"], ["9.00"])
    assert made.version == DeltaTable(one.location).version()
    assert delta.published(two) is not None


def test_a_commit_names_its_run_and_its_number(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 3, "1.00", run="run-1")
    (entry,) = DeltaTable(where.location).history(1)
    assert {entry["barecount.run_id"], entry["barecount.number"], entry["barecount.kind"]} == {"run-1", "3", "publish"}


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 3, "1.00")
    other = delta.Target(where.location, where.app_id, "day", where.data_partition, SCHEMA.append(pa.field("x", pa.int64())))
    with pytest.raises(StageFailed) as failed:
        delta.look(other)
    assert failed.value.error_type is ErrorType.TABLE_SCHEMA_DIFFERS


def test_a_rollback_puts_back_the_files_of_before(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 3, "1.00")
    publish(where, 5, "2.00", run="run-2")
    back = delta.rollback(where, 7, 5, {"run_id": "run-2"})
    assert (back.number, back.files_digest, back.already) == (7, "sha256:1.00", False)
    assert revenues(where) == ["1.00"]
    assert delta.rollback(where, 7, 5, {}).already


def test_a_rollback_of_the_first_publication_leaves_an_empty_data_partition(tmp_path: Path) -> None:
    where, other = target(tmp_path), target(tmp_path, "2025-10-05")
    publish(other, 3, "9.00")
    publish(where, 3, "1.00")
    delta.rollback(where, 5, 3, {})
    assert (revenues(where), revenues(other)) == ([], ["9.00"])


def test_a_rollback_is_refused_when_a_later_run_owns_the_data_partition(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 3, "1.00")
    publish(where, 5, "2.00", run="run-2")
    assert "run-2" in refused(lambda: delta.rollback(where, 7, 3, {}))
    assert revenues(where) == ["2.00"]


def test_a_rollback_says_when_the_files_of_before_are_gone(tmp_path: Path) -> None:
    where = target(tmp_path)
    publish(where, 3, "1.00")
    publish(where, 5, "2.00")
    (where.location / "day=2025-10-04" / "1.00.parquet").unlink()
    with pytest.raises(StageFailed, match="rollback incomplete"):
        delta.rollback(where, 7, 5, {})
    assert revenues(where) == ["2.00"]
