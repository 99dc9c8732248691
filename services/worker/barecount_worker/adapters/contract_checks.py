"""Running a contract's rules and a manifest's quality rules over datasets in a cage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from barecount_contracts import CheckResult
from barecount_manifest import QualityRule, checks_of, expectations, holds

from barecount_worker.domain.totals import exact

from .cage import Cage, quoted


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule's result; a `warning` is reported and stops nothing."""

    result: CheckResult
    severity: str

    @property
    def stops(self) -> bool:
        return not self.result.holds and self.severity == "error"


def contract_checks(cage: Cage, contract: Mapping[str, Any], dataset: str) -> Iterator[Checked]:
    """Row rules in one pass over the dataset, then the rules for the table as a whole."""
    rules = checks_of(contract, table=dataset)
    if rules.rows:
        counts = ", ".join(f"count(*) FILTER (WHERE ({rule.sql}) IS NOT TRUE)" for rule in rules.rows)
        (broken,) = cage.rows(f"SELECT {counts} FROM {quoted(dataset)}")
        for rule, count in zip(rules.rows, broken, strict=True):
            detail = "" if count == 0 else f"{count} rows break: {rule.sql}"
            yield Checked(CheckResult(name=rule.name, holds=count == 0, failed_records=count, detail=detail), "error")
    for whole in rules.table:
        yield _measured(cage, whole.name, whole.sql, whole.expected, whole.severity)


def quality_checks(cage: Cage, rules: Iterable[QualityRule]) -> Iterator[Checked]:
    """A manifest's own rules."""
    for rule in rules:
        yield _measured(cage, rule.name, rule.sql, expectations(rule), rule.severity)


def broken(checked: Iterable[Checked]) -> str:
    """The rules that stop, in words; empty when all hold."""
    return "; ".join(f"{one.result.name} ({one.result.detail})" for one in checked if one.stops)


def _measured(cage: Cage, name: str, sql: str, expected: Mapping[str, Any], severity: str) -> Checked:
    value = cage.number(sql)
    # a percentage is a float in DuckDB; its shortest decimal form is what people compare
    actual = None if value is None else exact(repr(value) if isinstance(value, float) else value)
    kept = holds(expected, actual)
    words = ", ".join(f"{condition.replace('_', ' ')} {_shown(wanted)}" for condition, wanted in expected.items())
    detail = "" if kept else f"{words}, is {actual if actual is not None else 'nothing'}"
    failed = int(actual) if not kept and actual is not None and actual > 0 and expected.get("must_be") == 0 else 0
    return Checked(CheckResult(name=name, holds=kept, failed_records=failed, detail=detail), severity)


def _shown(wanted: Any) -> str:
    return " and ".join(str(value) for value in wanted) if isinstance(wanted, tuple) else str(wanted)
