"""What can be wrong, as one tree.

    ManifestError            anything this library refuses
    ├── ManifestInvalid      a manifest (or the result of an override) with its problems, all at once
    ├── ContractInvalid      a contract with its problems, all at once
    └── NotCanonical         a value that RFC 8785 cannot write (NaN, infinity, an integer beyond 2^53)

A `Problem` says where (JSON Pointer, RFC 6901), what, and what to do now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: `path` is a JSON Pointer into the document ('' is the whole document)."""

    path: str
    message: str
    hint: str

    def as_dict(self) -> dict[str, str]:
        """The shape that problem documents carry: {"path", "message", "hint"}."""
        return {"path": self.path, "message": self.message, "hint": self.hint}


class ManifestError(Exception):
    """Anything this library refuses."""


class _WithProblems(ManifestError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = "; ".join(f"{p.path or '/'}: {p.message}" for p in self.problems)
        super().__init__(f"{len(self.problems)} problem(s): {lines}")


class ManifestInvalid(_WithProblems):
    """A manifest that cannot be accepted; `problems` names every reason at once."""


class ContractInvalid(_WithProblems):
    """A contract that cannot be used; `problems` names every reason at once."""


class NotCanonical(ManifestError):
    """A value that has no canonical JSON form."""


def pointer(*parts: str | int) -> str:
    """JSON Pointer (RFC 6901) of a path: pointer("stages", 2, "sql") == "/stages/2/sql"."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
