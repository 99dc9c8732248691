"""What a manifest may say; refusals first."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from barecount_local import sample
from barecount_manifest import (
    RESERVED_PIPELINE_NAMES,
    ContractReference,
    ManifestInvalid,
    effective,
    load,
    merge,
    parse,
    referenced_contracts,
    validate,
)

TEXT = sample.document(sample.MANIFEST)


@pytest.fixture
def document() -> dict[str, Any]:
    return load(TEXT)


def paths(document: dict[str, Any]) -> set[str]:
    return {problem.path for problem in validate(document)}


@pytest.mark.parametrize("name", sorted(RESERVED_PIPELINE_NAMES))
def test_a_pipeline_cannot_take_the_name_of_a_route(document: dict[str, Any], name: str) -> None:
    assert paths(document | {"name": name}) == {"/name"}


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"owner": None}, "/owner"),
        ({"ownr": "x"}, "/ownr"),
        ({"apiVersion": "barecount.io/v2"}, "/apiVersion"),
        ({"name": "Revenue KPI"}, "/name"),
        ({"partitioning": {"timezone": "Mars/Olympus"}}, "/partitioning/timezone"),
        ({"dlq": {"max_fraction": 1.5}}, "/dlq/max_fraction"),
        ({"retry": {"max_attempts": 0}}, "/retry/max_attempts"),
        ({"governance": {"replay": {"otherwise": "nobody"}}}, "/governance/replay/otherwise"),
        (
            {"slos": [{"name": "x", "indicator": {}, "timeWindow": [{"duration": "1d"}], "objectives": [{"target": 0.9}]}]},
            "/slos/0/indicator",
        ),
        ({"stages": []}, "/stages"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(document: dict[str, Any], patch: dict[str, Any], path: str) -> None:
    assert path in paths(merge(document, patch))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../other/{partition}.csv",
        "a/../../{partition}",
        "s3://x/{partition}",
        "a//{partition}",
        "a.csv",
        "{day}.csv",
        "*/{partition}",
        ".hidden/{partition}",
        "a\\{partition}",
    ],
)
def test_a_source_cannot_leave_the_lake_or_forget_the_partition(document: dict[str, Any], path: str) -> None:
    document["sources"][0]["path"] = path
    assert paths(document) == {"/sources/0/path"}


def test_money_written_as_a_float_is_refused(document: dict[str, Any]) -> None:
    document["reconciliation"][1]["tolerance"] = 0.01
    (problem,) = validate(document)
    assert problem.path == "/reconciliation/1/tolerance"
    assert "exact" in problem.message


def test_problems_between_parts_are_all_named_at_once(document: dict[str, Any]) -> None:
    document["stages"][1]["input"] = "revenue"
    document["stages"][2]["inputs"] = ["sales"]
    document["stages"][3]["sink"] = "elsewhere"
    document["reconciliation"][0]["source"] = "nowhere"
    document["quality"][0]["must_not_be"] = 1
    document["quality"][1]["dataset"] = "unknown"
    del document["owner"]
    assert paths(document) == {
        "/owner",
        "/stages/1/input",
        "/stages/2/inputs/0",
        "/stages/2/sql",
        "/stages/3/sink",
        "/sinks/0",
        "/quality/0",
        "/quality/1/dataset",
        "/quality/1/sql",
        "/reconciliation/0/source",
    }


def test_a_dataset_is_made_once_and_names_are_unique(document: dict[str, Any]) -> None:
    document["stages"].insert(3, document["stages"][2] | {"name": "read"})
    assert paths(document) == {"/stages", "/stages/3/output"}


def test_a_reconciliation_needs_a_control_file(document: dict[str, Any]) -> None:
    del document["sources"][0]["control"]
    assert {"/reconciliation/0/source", "/reconciliation/1/source"} <= paths(document)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: 1\na: 2", "twice"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: !!python/object:os.system x", "not YAML"),
        ("- a", "mapping"),
        ("{", "not YAML"),
        ("1: a", "text"),
        ("x" * 300_000, "larger"),
        ("a: .nan", "canonical"),
    ],
)
def test_a_text_with_more_than_one_meaning_is_refused(text: str, word: str) -> None:
    with pytest.raises(ManifestInvalid, match=word):
        parse(text)


def test_a_date_in_yaml_stays_text() -> None:
    assert load("a: 2025-10-04\nb: on\nc: true") == {"a": "2025-10-04", "b": "on", "c": True}


def test_the_sample_is_read_with_exact_numbers() -> None:
    manifest = parse(TEXT)
    assert manifest.dlq.max_fraction == Decimal("0.02")
    assert manifest.reconciliation[1].tolerance == Decimal("0.00")
    assert manifest.stage("aggregate").kind == "sql"
    assert referenced_contracts(manifest) == (
        ContractReference(name="retail-transactions", version="v1.0"),
        ContractReference(name="revenue-kpi", version="v3.2"),
    )


def test_a_manifest_written_out_and_read_again_is_the_same() -> None:
    manifest = parse(TEXT)
    assert parse(manifest.model_dump(mode="json", by_alias=True, exclude_none=True)) == manifest


def test_an_override_cannot_turn_a_pipeline_into_another(document: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        effective(document, {"name": "other", "kind": None})
    assert {problem.path for problem in refused.value.problems} >= {"/name", "/kind"}


def test_an_override_that_breaks_the_manifest_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid, match="owner"):
        effective(document, {"owner": None})


def test_an_override_changes_the_effective_manifest_and_never_the_base(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    result = effective(document, {"dlq": {"max_records": 7}})
    assert document == before
    assert result.manifest.dlq.max_records == 7
    assert [(change.path, change.before, change.after) for change in result.changes] == [("/dlq/max_records", 500, 7)]
    assert result.digest != effective(document, None).digest
