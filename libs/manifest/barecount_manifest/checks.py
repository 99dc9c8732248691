"""What one field alone cannot tell: names that must be unique, stages that must fit together, SQL over what is declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from .errors import Problem, pointer
from .model import Manifest, QualityRule
from .sql import check_sql


def check_manifest(manifest: Manifest) -> tuple[Problem, ...]:
    """Every problem between the parts of a manifest whose fields are right by themselves."""
    return (*_unique(manifest), *_stages(manifest), *_rules(manifest))


def _unique(manifest: Manifest) -> Iterator[Problem]:
    lists: dict[str, Iterable[str]] = {
        "sources": [source.name for source in manifest.sources],
        "sinks": [sink.name for sink in manifest.sinks],
        "stages": [stage.name for stage in manifest.stages],
        "quality": [rule.name for rule in manifest.quality],
        "reconciliation": [rule.name for rule in manifest.reconciliation],
        "slos": [slo.name for slo in manifest.slos],
    }
    for field, names in lists.items():
        for name, count in Counter(names).items():
            if count > 1:
                yield Problem(pointer(field), f"'{name}' stands here {count} times", "give each its own name")
    for path, count in Counter(sink.path for sink in manifest.sinks).items():
        if count > 1:
            yield Problem("/sinks", f"{count} sinks write to '{path}'", "give each sink its own table")


def _stages(manifest: Manifest) -> Iterator[Problem]:
    sources, sinks = {source.name for source in manifest.sources}, {sink.name for sink in manifest.sinks}
    made: dict[str, bool] = {}  # dataset -> was it read from a source
    published: Counter[str] = Counter()
    for index, stage in enumerate(manifest.stages):
        at = ("stages", index)
        match stage.kind:
            case "read":
                if stage.source not in sources:
                    yield Problem(pointer(*at, "source"), f"there is no source '{stage.source}'", f"sources: {_list(sources)}")
            case "check":
                if made.get(stage.input) is not True:
                    readable = _list(name for name, read in made.items() if read)
                    yield Problem(pointer(*at, "input"), f"'{stage.input}' was not read by an earlier stage", f"read so far: {readable}")
            case "sql":
                for number, name in enumerate(stage.inputs):
                    if name not in made:
                        hint = f"made so far: {_list(made)}; stages run in order"
                        yield Problem(pointer(*at, "inputs", number), f"no earlier stage makes '{name}'", hint)
                yield from check_sql(stage.sql, pointer(*at, "sql"), stage.inputs)
            case "publish":
                published[stage.sink] += 1
                if stage.input not in made:
                    yield Problem(pointer(*at, "input"), f"no earlier stage makes '{stage.input}'", f"made so far: {_list(made)}")
                if stage.sink not in sinks:
                    yield Problem(pointer(*at, "sink"), f"there is no sink '{stage.sink}'", f"sinks: {_list(sinks)}")
        if stage.kind == "read" or stage.kind == "sql":
            if stage.output in made:
                yield Problem(pointer(*at, "output"), f"'{stage.output}' was already made", "a dataset is made once: choose another name")
            made[stage.output] = stage.kind == "read"
    for index, sink in enumerate(manifest.sinks):
        if published[sink.name] != 1:
            message = f"sink '{sink.name}' is published {published[sink.name]} times"
            yield Problem(pointer("sinks", index), message, "publish each sink by exactly one stage")


def _rules(manifest: Manifest) -> Iterator[Problem]:
    datasets = {stage.output for stage in manifest.stages if stage.kind == "read" or stage.kind == "sql"}
    for index, rule in enumerate(manifest.quality):
        at = ("quality", index)
        if rule.dataset not in datasets:
            yield Problem(pointer(*at, "dataset"), f"no stage makes '{rule.dataset}'", f"datasets: {_list(datasets)}")
        if (given := len(expectations(rule))) != 1:
            yield Problem(pointer(*at), f"has {given} of the must_… conditions", "give exactly one")
        yield from check_sql(rule.sql, pointer(*at, "sql"), {rule.dataset})
    sources = {source.name: source for source in manifest.sources}
    for index, control in enumerate(manifest.reconciliation):
        at = ("reconciliation", index)
        if control.source not in sources:
            yield Problem(pointer(*at, "source"), f"there is no source '{control.source}'", f"sources: {_list(sources)}")
        elif sources[control.source].control is None:
            yield Problem(pointer(*at, "source"), f"source '{control.source}' has no control file", "add `control` to the source")
        yield from check_sql(control.actual_sql, pointer(*at, "actual_sql"), datasets)


def expectations(rule: QualityRule) -> dict[str, object]:
    """The must_… conditions that a rule gives, by name."""
    names = [name for name in type(rule).model_fields if name.startswith("must_")]
    return {name: value for name in names if (value := getattr(rule, name)) is not None}


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
