"""The state as bytes and back: JSON in which every object names its class. Equal states give equal bytes."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from barecount_contracts import Bodies, InputFile, PlanSummary, Reconciliation, StagedOutput, StageMetrics, TaskRef
from immutables import Map
from pydantic import BaseModel

from .evolve import bodies_key
from .lane import Finished, Halted, Lane, Ready, Waiting, Working
from .pool import Line, Pool, Worker
from .run import Cancelling, Failing, Queued, RetryRule, Run, Running, StageOf
from .state import Lease, Shared, State

_OURS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        State, Shared, Lease, Pool, Line, Worker, Run, StageOf, RetryRule, Queued, Running, Cancelling, Failing, Lane, Ready, Waiting,
        Working, Halted, Finished,
    )
}  # fmt: skip
_PARTS: dict[str, type[BaseModel]] = {
    cls.__name__: cls for cls in (Bodies, InputFile, PlanSummary, Reconciliation, StagedOutput, StageMetrics, TaskRef)
}


def dump(state: State) -> bytes:
    """The bodies are written once, though every run refers to them."""
    return json.dumps(_encode(state), separators=(",", ":"), sort_keys=True).encode()


def load(blob: bytes) -> State:
    """Raises: ValueError, KeyError or TypeError when the bytes are not a dump of this version."""
    raw = json.loads(blob)
    bodies = _decode(raw["bodies"])
    state = _decode({**raw, "runs": {"$": "map", "of": []}})
    if not isinstance(state, State):
        raise ValueError("the snapshot does not hold a state")
    runs = {}
    for key, run in raw["runs"]["of"]:
        shared: Shared = bodies[run.pop("bodies")]
        runs[_decode(key)] = Run(bodies=shared.bodies, **{name: _decode(value) for name, value in run.items() if name != "$"})
    return State(**{**{f.name: getattr(state, f.name) for f in fields(State)}, "runs": Map(runs)})


def _encode(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Run():
            return {**_fields(value), "bodies": bodies_key(value)}
        case Map():
            pairs = [[_encode(key), _encode(item)] for key, item in value.items()]
            return {"$": "map", "of": sorted(pairs, key=lambda pair: json.dumps(pair[0]))}
        case tuple():
            return {"$": "tuple", "of": [_encode(item) for item in value]}
        case frozenset():
            return {"$": "set", "of": sorted(_encode(item) for item in value)}
        case datetime():
            return {"$": "time", "of": value.isoformat()}
        case timedelta():
            return {"$": "microseconds", "of": value // timedelta(microseconds=1)}
        case UUID():
            return {"$": "id", "of": str(value)}
        case BaseModel():
            return {"$": type(value).__name__, "of": value.model_dump(mode="json")}
        case _ if is_dataclass(value):
            return _fields(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no form in a snapshot: add it to snapshot.py")


def _fields(value: Any) -> dict[str, Any]:
    return {
        "$": type(value).__name__,
        **{f.name: _encode(getattr(value, f.name)) for f in fields(value) if f.name != "bodies" or type(value) is not Run},
    }


def _decode(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    match raw["$"]:
        case "map":
            return Map([(_decode(key), _decode(item)) for key, item in raw["of"]])
        case "tuple":
            return tuple(_decode(item) for item in raw["of"])
        case "set":
            return frozenset(_decode(item) for item in raw["of"])
        case "time":
            return datetime.fromisoformat(raw["of"])
        case "microseconds":
            return timedelta(microseconds=raw["of"])
        case "id":
            return UUID(raw["of"])
        case name if name in _PARTS:
            return _PARTS[name].model_validate(raw["of"])
        case name:
            return _OURS[name](**{key: _decode(item) for key, item in raw.items() if key != "$"})
