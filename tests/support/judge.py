"""What the log alone proves about a run of the product: read with read_committed, by nothing that the product's services use.

Judged: every inbox offset has exactly one outcome; event ids are unique; a run ends once; the ledger covers its sources without a gap
and holds each of their records exactly once; a table holds at most one commit per run and data partition.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

INBOXES = {"pipelines.commands": "control.events", "runs.commands": "runs.events"}
SOURCES = ("control.events", "runs.events", "lineage.events", "api.calls")
ENDS = frozenset({"RunSucceeded", "RunFailed", "RunCancelled"})


@dataclass(frozen=True)
class Read:
    """A topic's committed records, by (partition, offset), and each partition's end."""

    records: Mapping[tuple[int, int], dict[str, Any]]
    ends: Mapping[int, int]


def read_topic(client: Mapping[str, str], topic: str) -> Read:
    """Everything committed in a topic now. Values that are not JSON are kept as {"raw": bytes}."""
    consumer = Consumer(
        {
            **client,
            "group.id": "judge",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in partitions}
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        open_, found = set(partitions), dict[tuple[int, int], dict[str, Any]]()
        while open_:
            record = consumer.poll(20)
            assert record is not None, f"{topic}: nothing read for 20 s, still missing the ends of partitions {open_}"
            error = record.error()
            if error is not None:
                assert error.name() == "_PARTITION_EOF", error
                open_.discard(record.partition())
                continue
            found[record.partition(), record.offset()] = _parsed(record.value())
        return Read(found, ends)
    finally:
        consumer.close()


def exactly_one_outcome(client: Mapping[str, str]) -> dict[str, int]:
    """Per inbox, the number of commands judged. Asserts one outcome per offset, complete answers, and unique event ids."""
    judged = {}
    for inbox, events in INBOXES.items():
        commands, answers = read_topic(client, inbox), read_topic(client, events)
        outcomes, parts = Counter[tuple[int, int]](), defaultdict[tuple[int, int], list[int]](list)
        for event in answers.records.values():
            cause = event["cause"]
            at = (cause["partition"], cause["offset"])
            parts[at].append(cause.get("index", 0))
            outcomes[at] += cause.get("index", 0) == 0
        repeated = {at: count for at, count in outcomes.items() if count != 1}
        assert not repeated, f"{inbox}: offsets with another number of outcomes than one: {repeated}"
        missing = set(commands.records) - set(outcomes)
        assert not missing, f"{inbox}: offsets without an outcome: {sorted(missing)[:5]}"
        ids = Counter(event["id"] for event in answers.records.values())
        assert max(ids.values(), default=1) == 1, f"{events}: event ids twice: {[i for i, n in ids.items() if n > 1][:5]}"
        judged[inbox] = len(commands.records)
    return judged


def runs_end_once(client: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(tenant, run) -> how it ended. Asserts that no run ended twice."""
    ends = defaultdict[tuple[str, str], list[str]](list)
    for event in read_topic(client, "runs.events").records.values():
        if event["type"] in ENDS:
            ends[event["tenant"], event["data"]["run_id"]].append(event["type"])
    twice = {run: found for run, found in ends.items() if len(found) != 1}
    assert not twice, f"runs that ended more than once: {twice}"
    return {run: found[0] for run, found in ends.items()}


def ledger_is_complete(client: Mapping[str, str]) -> int:
    """The number of leaves. Asserts gapless leaf indexes, gapless coverage, and each source record exactly once."""
    leaves, expected = list[dict[str, Any]](), 0
    ledger = read_topic(client, "evidence.ledger")
    for _, record in sorted(ledger.records.items()):
        if record["type"] == "LedgerBatch":
            assert record["data"]["first_index"] == expected, f"leaf index {record['data']['first_index']} where {expected} was due"
            leaves += [json.loads(leaf) for leaf in record["data"]["leaves"]]
            expected = len(leaves)
    held = Counter(
        (leaf["source"]["topic"], leaf["source"]["partition"], leaf["source"]["offset"]) for leaf in leaves if leaf["kind"] == "record"
    )
    assert max(held.values(), default=1) == 1, f"recorded twice: {[at for at, n in held.items() if n > 1][:5]}"
    covered = defaultdict[tuple[str, int], int](int)
    for leaf in leaves:
        for part in leaf.get("ranges", ()):
            at = (part["topic"], part["partition"])
            assert part["start"] == covered[at], f"coverage of {at} jumps from {covered[at]} to {part['start']}"
            covered[at] = part["next"]
    for topic in SOURCES:
        for partition, offset in read_topic(client, topic).records:
            if offset < covered[topic, partition]:
                assert (topic, partition, offset) in held, f"{topic}/{partition}@{offset} is covered and has no leaf"
    return len(leaves)


def one_commit_per_run(lake: Path) -> dict[str, int]:
    """Table -> commits with data. Asserts that no run put a data partition in place twice."""
    found = {}
    for log in lake.rglob("_delta_log"):
        published = Counter[tuple[str, str]]()
        for commit in sorted(log.glob("*.json")):
            actions = [json.loads(line) for line in commit.read_text().splitlines() if line]
            info = next(a["commitInfo"] for a in actions if "commitInfo" in a)
            for added in _partitions(actions):
                published[str(info["barecount.run_id"]), added] += 1
        twice = {what: count for what, count in published.items() if count > 1}
        assert not twice, f"{log.parent}: published twice: {twice}"
        found[str(log.parent.relative_to(lake))] = sum(published.values())
    return found


def _partitions(actions: Iterable[dict[str, Any]]) -> set[str]:
    return {json.dumps(a["add"]["partitionValues"], sort_keys=True) for a in actions if "add" in a}


def _parsed(value: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(value or b"")
    except ValueError:
        return {"raw": value}
    return found if isinstance(found, dict) else {"raw": value}
