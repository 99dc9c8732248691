"""Every run that was admitted, for ever: which ids are taken, and by which pipeline. There may be millions in one tenant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from barecount_eventlog import Ids
from immutables import Map

_NUMBER: Final = 4
_NO_NUMBERS: Final[Map[str, int]] = Map()


class AdmittedRuns:
    """Run id to pipeline name, at 20 bytes a run: an id is known by 16 bytes of its digest, a name by its number. An immutable value.

    Two ids with one digest would be the same run: 2^64 tries for who wants to make such a pair, and then the second is refused.
    No dataclass: one is made for every run that is restored, and a frozen one takes three times as long.
    """

    __slots__ = ("_ids", "_numbers", "names")

    def __init__(self, names: tuple[str, ...] = (), _numbers: Map[str, int] = _NO_NUMBERS, _ids: Ids | None = None) -> None:
        self.names, self._numbers = names, _numbers
        self._ids = Ids(_NUMBER) if _ids is None else _ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AdmittedRuns) and self.names == other.names and self._ids == other._ids

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, run_id: str) -> bool:
        return self._ids.get(_key(run_id)) is not None

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, run_id: str) -> str | None:
        """The pipeline of a run; None when no such run was admitted."""
        found = self._ids.get(_key(run_id))
        return None if found is None else self.names[int.from_bytes(found)]

    def add(self, run_id: str, pipeline: str) -> AdmittedRuns:
        names, numbers = self.names, self._numbers
        number = numbers.get(pipeline)
        if number is None:
            number = len(names)
            names, numbers = (*names, pipeline), numbers.set(pipeline, number)
        return AdmittedRuns(names, numbers, self._ids.add(_key(run_id), number.to_bytes(_NUMBER)))

    def add_all(self, runs: Iterable[tuple[str, str]]) -> AdmittedRuns:
        """As `add` of one after the other, without a value for each. runs: of run id and pipeline."""
        names, numbers, pairs = self.names, self._numbers, []
        for run_id, pipeline in runs:
            number = numbers.get(pipeline)
            if number is None:
                number = len(names)
                names, numbers = (*names, pipeline), numbers.set(pipeline, number)
            pairs.append((_key(run_id), number.to_bytes(_NUMBER)))
        return AdmittedRuns(names, numbers, self._ids.add_all(pairs))

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """JSON-ready words, and the bytes that go beside them."""
        ids = self._ids.dump()
        return {"pipelines": self.names, "bytes": len(ids)}, ids

    @classmethod
    def load(cls, words: dict[str, Any], ids: bytes) -> AdmittedRuns:
        names = tuple(words["pipelines"])
        return cls(names, Map({name: number for number, name in enumerate(names)}), Ids.load(ids, _NUMBER))


def _key(run_id: str) -> bytes:
    return hashlib.blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
