"""A process beside a handler that finds out what commands' bytes say: their digests, and whether who asserts them has signed them.

Both are about half of what a command costs its owner, and they need no state. The other process is started by the first question and ends
with this one, or after a minute without any; while it is not there, silent or gone, the owner finds out by itself.

A question is how many values there are (4 bytes) and each value with its length before it; the first is proven while the last ones are on
their way, because a line holds less than a batch. An answer is 33 bytes a value: what is known (0 nothing, 1 not vouched for, 2 vouched
for) and the digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Generic, TypeVar

import structlog
from barecount_contracts import EnvelopeError, command_digest, parse

from .collector import settle
from .keyring import Keyring

P = TypeVar("P")

# a frozen one must not hold commands up
PATIENCE_SECONDS: Final = 2.0
# after a failure the owner works by itself for so long
RETREAT_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 60.0
START_SECONDS: Final = 30.0
_READY: Final = b"ready"
_NOTHING, _UNVOUCHED, _VOUCHED = 0, 1, 2
_NUMBER: Final = struct.Struct(">I")
# not `-m`: this package imports this module
_PROGRAM: Final = f"from {__name__} import main; main()"
_ANSWER: Final = struct.Struct(">B32s")

log = structlog.get_logger(__name__)


class ProvingProcess(Generic[P]):
    """Safe for several owners: they are answered in turn.

    keys: the folder of a Keyring of `service`. proof(digest, vouched): makes an answer; hand over the event log's own Proof. patience,
    retreat: seconds that an answer may take, and without the process after a failure.
    """

    def __init__(
        self,
        keys: Path,
        service: str,
        proof: Callable[[str, bool], P],
        *,
        patience: float = PATIENCE_SECONDS,
        retreat: float = RETREAT_SECONDS,
    ) -> None:
        self._keys, self._service, self._proof, self._patience, self._retreat = keys, service, proof, patience, retreat
        self._process: Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._not_before = 0.0

    async def prove(self, values: Sequence[bytes]) -> Sequence[P | None]:
        """One answer a value; none at all while the process is not there. Never raises."""
        self._begin()
        if self._process is None:
            return ()
        # whoever asked may be cancelled; the answer must still be taken off the line
        return await asyncio.shield(asyncio.ensure_future(self._asked(values)))

    async def ready(self) -> bool:
        """Starts the process if it is not there; whether it answers questions now."""
        self._begin()
        if self._starting is not None:
            await asyncio.shield(self._starting)
        return self._process is not None

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._end()

    def _begin(self) -> None:
        gone = self._process is None or self._process.returncode == 0
        if gone and self._starting is None and time.monotonic() >= self._not_before:
            self._starting = asyncio.create_task(self._start(), name="proving process")

    async def _start(self) -> None:
        """It is there once it has said its first word: until then the owner need not wait for it."""
        self._process = process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _PROGRAM, str(self._keys), self._service), stdin=PIPE, stdout=PIPE
            )
            assert process.stdout is not None
            async with asyncio.timeout(START_SECONDS):
                await process.stdout.readexactly(len(_READY))
            self._process, process = process, None
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self._retire(error)
        finally:
            self._starting = None
            if process is not None:
                await _killed(process)

    async def _asked(self, values: Sequence[bytes]) -> Sequence[P | None]:
        async with self._turn:
            process = self._process
            if process is None:
                return ()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(self._patience):
                    process.stdin.write(_question(values))
                    await process.stdin.drain()
                    answer = await process.stdout.readexactly(_ANSWER.size * len(values))
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                self._retire(error)
                await self._end()
                return ()
            return [self._proof_of(known, digest) for known, digest in _ANSWER.iter_unpack(answer)]

    def _proof_of(self, known: int, digest: bytes) -> P | None:
        return None if known == _NOTHING else self._proof(f"sha256:{digest.hex()}", known == _VOUCHED)

    def _retire(self, error: Exception) -> None:
        self._not_before = time.monotonic() + self._retreat
        log.warning("proving-process-lost", error=repr(error), retry_in=self._retreat, effect="owners prove commands by themselves")

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _killed(process)


async def _killed(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _question(values: Sequence[bytes]) -> bytes:
    return b"".join((_NUMBER.pack(len(values)), *(part for value in values for part in (_NUMBER.pack(len(value)), value))))


def answer_to(keyring: Keyring, value: bytes) -> bytes:
    """33 bytes: what is known of a record's value. Nothing where a refusal needs the owner's own words."""
    try:
        command = parse(value)
        digest = command_digest(command)
        vouched = keyring.vouched(command, digest)
    except (EnvelopeError, ValueError, RecursionError):
        vouched = None
    if vouched is None:
        return _ANSWER.pack(_NOTHING, b"")
    return _ANSWER.pack(_VOUCHED if vouched else _UNVOUCHED, bytes.fromhex(digest.removeprefix("sha256:")))


def serve(keyring: Keyring, questions: int, answers: int) -> None:
    """Answers until the line is closed, which is when who started this process is gone, or nothing was asked for a minute.

    questions, answers: file descriptors.
    """
    with os.fdopen(questions, "rb", closefd=False) as line:
        # nothing is asked before the last answer: between questions the line's own buffer is empty
        while select.select([questions], [], [], IDLE_SECONDS)[0]:
            try:
                said = memoryview(b"".join([answer_to(keyring, _exactly(line, _number(line))) for _ in range(_number(line))]))
            except EOFError:
                return
            while said:
                said = said[os.write(answers, said) :]


def _number(line: BinaryIO) -> int:
    (number,) = _NUMBER.unpack(_exactly(line, _NUMBER.size))
    return int(number)


def _exactly(line: BinaryIO, size: int) -> bytes:
    """So many bytes. Raises: EOFError when the line was closed before."""
    found = line.read(size)
    if len(found) < size:
        raise EOFError
    return found


def main() -> None:
    folder, service = sys.argv[1:]
    settle()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        os.write(1, _READY)
        serve(Keyring(Path(folder), service), 0, 1)


if __name__ == "__main__":
    main()
