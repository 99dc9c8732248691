"""What the processes that are to die do: one function a kind. They run in a child of the nursery, until the test is done with them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from barecount_chassis import CommandBus, Keyring
from barecount_contracts import Envelope, RunTask, StagedOutput
from barecount_eventlog import Appender, Emit, FencedWriter, Handler, Inbound, KafkaSettings, owner, writer
from barecount_readmodel import Database, PostgresSnapshots, Projector, database
from barecount_webhooks import relay
from barecount_webhooks.app import build
from barecount_webhooks.settings import WebhooksSettings
from barecount_worker.attempt import Attempt
from barecount_worker.reports import Reports
from barecount_worker.slots import Slots

from tests.chaos.crash.points import Points
from tests.integration.eventlog.counter import Counter, NumberAdded, Sums, gate, tick
from tests.integration.readmodel.kit import NumbersView

Tell = Callable[..., None]

# the tasks under test, by what their coroutines' names begin with
WATCHED: dict[str, tuple[str, ...]] = {
    "handler": ("Owner.", "FencedWriter.", "Reader.", "Appender.", "Sender.", "AIOKafkaProducer.", "wait_for"),
    "projector": ("Track.", "Projector.", "Reader."),
    "webhooks": ("Relay.", "Attempts.", "Sender."),
    "attempt": ("Attempt.", "Reports.", "Outbox.", "SlotProcess."),
}
# the modules whose every await is to be met
MODULES: dict[str, tuple[str, ...]] = {
    "handler": tuple(f"libs/eventlog/barecount_eventlog/{name}.py" for name in ("owner", "ahead", "saving", "writer")),
    "projector": ("libs/readmodel/barecount_readmodel/track.py", "libs/readmodel/barecount_readmodel/projector.py"),
    "webhooks": ("services/webhooks/barecount_webhooks/relay.py", "services/webhooks/barecount_webhooks/attempt.py"),
    "attempt": ("services/worker/barecount_worker/attempt.py", "services/worker/barecount_worker/slots.py"),
}


class Sided(Counter):
    """Answers on a second topic too, as execution does on runs.tasks: a transaction over two topics."""

    def __init__(self, side: str) -> None:
        self._side = side

    def decide(self, state: Sums, inbound: Inbound) -> Sequence[Emit]:
        emits = list(super().decide(state, inbound))
        added = emits[0].payload
        return [*emits, Emit(added, topic=self._side, key="side")] if isinstance(added, NumberAdded) else emits


async def handler(given: dict[str, Any], tell: Tell) -> None:
    """given: `transaction_seconds` shorter than the product's, for who waits it out.

    A batch of 20 shall come by what a batch of hundreds comes by: pauses while it is judged, and several batches of records a transaction.
    """
    owner.SLICE_SECONDS = 0.0  # type: ignore[misc]
    writer.MAX_BATCH_BYTES = 6_000  # type: ignore[misc]
    FencedWriter.__init__.__kwdefaults__["transaction_timeout"] = given.get("transaction_seconds", 15.0)
    opened = await Database.open(given["database"], service=given["service"], connections=2)
    worker = Handler(
        kafka=KafkaSettings(**given["kafka"]),
        service=given["service"],
        inbox=given["inbox"],
        events=given["events"],
        decider=Sided(given["side"]),
        gate=gate,
        snapshots=PostgresSnapshots(opened),
        snapshot_every=30,
        max_batch=20,
        tick=tick,
        fenced_backoff=(1.5, 6.0),
    )
    starting = asyncio.create_task(worker.start())
    owned = False
    while True:
        if worker.ready != owned:
            owned = worker.ready
            tell("ready" if owned else "out")
        if worker.failed is not None:
            tell("failed", error=str(worker.failed))
            await starting
            return
        await asyncio.sleep(0.02)  # between two looks: the handler tells nobody outside


async def projector(given: dict[str, Any], tell: Tell) -> None:
    # a frozen transaction holds its successor for as long; the product's are 10 s and 60 s
    database.IDLE_IN_TRANSACTION, database.TRANSACTION = "1s", "2s"
    opened = await Database.open(given["database"], service=given["service"])
    views = [NumbersView(given["events"])]
    worker = Projector(kafka=KafkaSettings(**given["kafka"]), database=opened, service=given["service"], views=views, max_batch=20)
    await worker.start()
    tell("ready")
    await asyncio.Event().wait()


async def webhooks(given: dict[str, Any], tell: Tell) -> None:
    # the product's are 5 s, 75 s, 10 s and 60 s
    relay.LOOK_SECONDS, relay.LOCK_IDLE, database.IDLE_IN_TRANSACTION, database.TRANSACTION = 0.3, "4s", "1s", "2s"
    app = build(WebhooksSettings(**given["settings"]))
    async with app.router.lifespan_context(app):
        tell("ready")
        await asyncio.Event().wait()


async def attempt(given: dict[str, Any], tell: Tell) -> None:
    """One attempt of a worker at a publish stage, with a slot's process of its own."""
    appender = Appender(KafkaSettings(**given["kafka"]), "crash.worker")
    await appender.start()
    bus = CommandBus(appender, Keyring(Path(given["keys"]), "worker"), inbox="runs.commands")
    reports = Reports(bus, pool=given["pool"], principal="service:worker", recovered=lambda: None)
    envelope = Envelope.model_validate(given["envelope"])
    order = envelope.payload()
    assert isinstance(order, RunTask)
    slots = Slots(1, Path(given["lake"]), "256MB", 60.0)
    tell("ready")
    # a task of its own: that is what is watched
    running = asyncio.create_task(Attempt(envelope, order, {}, slots=slots, reports=reports, appender=appender).run())
    tell("outcome", outcome=await running)
    await asyncio.Event().wait()


def staged(given: dict[str, Any], points: Points) -> list[dict[str, Any]]:
    """Every stage before publishing, once; gives the staged outputs. With `published` an earlier run is in the table already."""
    from tests.integration.worker.conftest import DAY

    retailer = _retailer(Path(given["lake"]))
    retailer.deliver()
    if given["published"]:
        earlier: Attempt = retailer.run("run-0", 1)
        assert earlier.failure is None, earlier.failure
    found = retailer.run("run-1", 3, DAY, until="publish")
    assert found.failure is None, found.failure
    return [output.model_dump(mode="json") for output in found.outputs]


def publish(given: dict[str, Any], points: Points) -> dict[str, Any]:
    """The publish stage, or the empty commit of a cancel, as a slot does it; gives its publication or the type of its failure."""
    lake = Path(given["lake"])
    if given["shot"]:
        _sniper(lake, given["shot"]["signal"], given["shot"]["event"], points.told)
    from barecount_worker.adapters.executor import execute, execute_fence
    from barecount_worker.domain.failure import StageFailed
    from barecount_worker.domain.stop import Stop

    from tests.integration.worker.conftest import DAY

    retailer = _retailer(lake)
    outputs = tuple(StagedOutput.model_validate(one) for one in given["outputs"])
    task = retailer.task("publish", "run-1", given["number"], outputs, DAY, tuple(given["superseded"]))
    points.watch_lines(("worker/adapters/delta.py", "worker/adapters/stage_publish.py", "worker/adapters/staging.py"), lake)
    try:
        if given["fence"]:
            found = execute_fence(task, retailer.lake, lambda level, event, **fields: None, Stop())
        else:
            found = execute(task, retailer.lake, lambda level, event, **fields: None, lambda letter: None, Stop())
    except StageFailed as failure:
        return {"failed": failure.error_type.value, "message": failure.message}
    return {"published": found.publication.model_dump(mode="json") if found.publication else None}


def _retailer(lake: Path) -> Any:
    from barecount_local import sample
    from barecount_manifest import load

    from tests.integration.worker.conftest import Retailer

    contracts = [load(sample.document(name)) for name in sample.CONTRACTS]
    return Retailer(lake, load(sample.document(sample.MANIFEST)), {(one["name"], one["version"]): one for one in contracts})


def _sniper(lake: Path, kind: str, event: int, told: Callable[[str], None]) -> None:
    """A second process that sends the signal at the n-th file event in the table's folders, also in the midst of native code."""
    victim = os.getpid()
    if os.fork():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)
    watching = libc.inotify_init()
    log = lake / "acme" / "prod" / "tables" / "revenue_kpi" / "_delta_log"
    for folder in (log, log.parent, *(one for one in log.parent.iterdir() if one.is_dir() and one != log)):
        # modify, close after writing, moved, created, deleted
        libc.inotify_add_watch(watching, str(folder).encode(), 0x002 | 0x008 | 0x0C0 | 0x100 | 0x200)
    met = 0
    while met < event:
        raw, at = os.read(watching, 65_536), 0
        while at < len(raw):
            (length,) = struct.unpack_from("I", raw, at + 12)
            met, at = met + 1, at + 16 + length
    told(f"file event {event}")
    os.kill(victim, getattr(signal, f"SIG{kind}"))
    os._exit(0)
