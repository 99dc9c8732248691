"""What stands outside of Kafka is of a newer log, or of another: nothing is read or decided, and the words say what to do.

The restore itself, with the product, is test_backup_and_restore.py's; here are the three ways to tell another log, and every reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from barecount_eventlog import Deriver, LogReplaced, OutRecord, Recorded, end_offsets
from barecount_readmodel import Database, PostgresSnapshots

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of
from tests.integration.readmodel.test_projector import decide, numbers, projector_of
from tests.integration.readmodel.test_rebuild import rebuild_of, schemas

# (what is changed in the position's row, what the refusal says): a restored log is shorter, or has grown since, or is another cluster's
TOLD = [
    ("next_offset = 1000", "{events}/0: it stands at 1000, the log ends at {end}"),
    ("last_digest = '\\x00'", "{events}/0: at offset {last} stands another record than it took from there"),
    ("cluster = 'b-another'", "it was made from Kafka cluster b-another, and this is "),
]


@pytest.mark.chaos
@pytest.mark.parametrize(("change", "words"), TOLD)
async def test_a_read_model_of_another_log_is_refused_until_it_is_built_from_this_one(
    topics: Topics, database: Database, change: str, words: str
) -> None:
    await decide(topics, *(add(n) for n in (1, 2, 3)))
    first = projector_of(topics, database)
    await first.start()
    await eventually(lambda: first.ready)
    await first.stop()
    row = await database.pool.fetchrow(f"SELECT * FROM {database.schema}.projection_positions")
    assert row is not None
    await database.pool.execute(f"UPDATE {database.schema}.projection_positions SET {change}")
    await database.pool.execute(f"INSERT INTO {database.schema}.numbers SELECT gen_random_uuid(), 'acme', 99, 99")

    refused, said = projector_of(topics, database), words.format(events=topics.events, end=row["next_offset"], last=row["last_offset"])
    with pytest.raises(LogReplaced) as caught:
        await refused.start()
    assert said in str(caught.value)
    assert f"barecount rebuild {database.service} --accept-loss" in str(caught.value)
    assert not refused.ready
    with pytest.raises(LogReplaced) as of_rebuild:
        await rebuild_of(topics, database).run()
    assert said in str(of_rebuild.value), "an ordinary rebuild compares, and there is nothing to compare with"

    done = await rebuild_of(topics, database).run(accept_loss=True)
    assert (done["lost"], done["events"]) == (True, row["next_offset"])
    assert await schemas(database) == {"live", "_previous"}, "what was lost stays for a look"
    again = projector_of(topics, database)
    await again.start()
    await eventually(lambda: again.ready)
    assert await numbers(database) == [1, 2, 3]
    with pytest.raises(LogReplaced):
        await rebuild_of(topics, database).roll_back()
    await again.stop()


@pytest.mark.chaos
async def test_a_projector_whose_log_is_exchanged_while_it_runs_is_not_ready_and_says_why(topics: Topics, database: Database) -> None:
    await decide(topics, add(1))
    projector = projector_of(topics, database)
    await projector.start()
    await eventually(lambda: projector.ready)
    await database.pool.execute(f"UPDATE {database.schema}.projection_positions SET next_offset = 1000")
    # what a reader meets when Kafka comes back with less than it had
    projector._reader._fail(OSError("the connection is gone"))  # type: ignore[union-attr]
    await eventually(lambda: isinstance(projector.failed, LogReplaced))
    assert not projector.ready
    await database.pool.execute(f"UPDATE {database.schema}.projection_positions SET next_offset = 2")
    await eventually(lambda: projector.ready, 30)
    assert projector.failed is None
    await projector.stop()


@pytest.mark.chaos
async def test_a_snapshot_of_another_log_is_refused_and_given_up_with_the_read_model(topics: Topics, database: Database) -> None:
    store = PostgresSnapshots(database)
    handler = handler_of(topics, snapshots=store)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(5))
    await drained(handler, topics)
    await handler.stop()
    projector = projector_of(topics, database)
    await projector.start()
    await projector.stop()
    await database.pool.execute(f"UPDATE {database.service}_state.snapshots SET events_next = 1000")
    with pytest.raises(LogReplaced, match=f"the snapshot of test's partition 0 .* {topics.events}/0: it stands at 1000, the log ends at 2"):
        await handler_of(topics, snapshots=store).start()
    await rebuild_of(topics, database).run(accept_loss=True)
    again = handler_of(topics, snapshots=store)
    await again.start()
    assert again.state(0).totals["acme"] == 5
    await again.stop()


def nothing(batch: Sequence[Recorded], positions: Mapping[tuple[str, int], tuple[int, int]]) -> list[OutRecord]:
    return []


async def commit_beyond(topics: Topics, group: str, topic: str) -> None:
    """As if the topic alone had been restored from an older copy: the group's positions are of the newer one."""
    consumer = AIOKafkaConsumer(**topics.kafka.client(), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): 1000})
    finally:
        await consumer.stop()


@pytest.mark.chaos
async def test_a_topic_restored_alone_is_noticed_by_who_derives_from_it_and_by_its_owner(topics: Topics) -> None:
    (output,) = await create_topics(topics.kafka, "output")
    await topics.appender.append(topics.inbox, "acme", add(5))
    end = (await end_offsets(topics.kafka, topics.inbox))[0]
    given: dict[str, Any] = {"sources": [topics.inbox], "output": output, "output_partition": 0, "transform": nothing}
    deriver = Deriver(kafka=topics.kafka, service="test", name=output, **given)
    await commit_beyond(topics, f"test.{output}", topics.inbox)
    with pytest.raises(LogReplaced, match=f"{topics.inbox}/0: it stands at 1000, the log ends at {end}"):
        await deriver.start()
    await commit_beyond(topics, f"test.{topics.inbox}", topics.inbox)
    with pytest.raises(LogReplaced, match=f"{topics.inbox}/0 ends at {end}, but {topics.events} holds outcomes up to 1000"):
        await handler_of(topics).start()
