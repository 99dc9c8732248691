"""One measured figure with its ceiling and its goal."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Figure:
    """`goal` is `ratio >= 0.3` or `value <= 15`, or None when there is none yet. `ceiling` is the raw figure in the same unit."""

    name: str
    value: float
    unit: str
    ceiling: float | None = None
    goal: str | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.ceiling if self.ceiling else None

    @property
    def holds(self) -> bool | None:
        if self.goal is None:
            return None
        what, compare, bound = self.goal.split()
        measured = self.ratio if what == "ratio" else self.value
        return measured is not None and bool(COMPARE[compare](measured, float(bound)))

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "ceiling": None if self.ceiling is None else round(self.ceiling, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "goal": self.goal,
            "holds": self.holds,
        }

    def cells(self) -> list[str]:
        return ["–" if value is None else f"{value:,}" if isinstance(value, float) else str(value) for value in self.row().values()]
