"""Service level objectives in the words of OpenSLO v1 (github.com/OpenSLO/OpenSLO), over the metrics that the product measures itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .fields import Exact, Fraction, Label

ThresholdMetricName = Literal["run_duration_seconds", "freshness_seconds"]
RatioMetricName = Literal["runs", "runs_succeeded", "runs_failed", "records_read", "records_accepted", "records_dead_lettered"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, alias_generator=to_camel, use_attribute_docstrings=True)


class ThresholdMetric(_Part):
    """A measured value that is compared with the objective's `op` and `value`."""

    metric: ThresholdMetricName
    """run_duration_seconds: first task to publication; freshness_seconds: end of the data partition to its publication."""


class RatioCount(_Part):
    metric: RatioMetricName


class RatioMetric(_Part):
    """Good (or bad) events out of all; a total of 0 counts as kept, since nothing was promised about nothing."""

    good: RatioCount | None = None
    bad: RatioCount | None = None
    total: RatioCount

    @model_validator(mode="after")
    def _good_or_bad(self) -> RatioMetric:
        if (self.good is None) == (self.bad is None):
            raise ValueError("needs exactly one of good and bad")
        return self


class Indicator(_Part):
    """What is measured: exactly one of thresholdMetric and ratioMetric."""

    threshold_metric: ThresholdMetric | None = None
    ratio_metric: RatioMetric | None = None

    @model_validator(mode="after")
    def _one(self) -> Indicator:
        if (self.threshold_metric is None) == (self.ratio_metric is None):
            raise ValueError("needs exactly one of thresholdMetric and ratioMetric")
        return self


class TimeWindow(_Part):
    """The time over which the objective is judged."""

    duration: Annotated[str, Field(pattern=r"^[1-9]\d*[mhdw]$")]
    """Like 28d: minutes m, hours h, days d, weeks w."""
    is_rolling: Literal[True] = True


class Objective(_Part):
    """What must hold for which share of the events."""

    target: Annotated[Fraction, Field(lt=1)]
    """Share that must be good, 0 to below 1, like 0.99."""
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    """Only with thresholdMetric."""
    value: Exact | None = None
    """Only with thresholdMetric, in the metric's unit."""

    @model_validator(mode="after")
    def _both(self) -> Objective:
        if (self.op is None) != (self.value is None):
            raise ValueError("op and value come together")
        return self


class Slo(_Part):
    """One objective set over one indicator."""

    name: Label
    description: str = ""
    indicator: Indicator
    time_window: tuple[TimeWindow, ...] = Field(min_length=1, max_length=1)
    budgeting_method: Literal["Occurrences"] = "Occurrences"
    objectives: tuple[Objective, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _threshold_has_operator(self) -> Slo:
        threshold = self.indicator.threshold_metric is not None
        if any((objective.op is not None) != threshold for objective in self.objectives):
            raise ValueError("objectives have op and value with thresholdMetric, and only then")
        return self
