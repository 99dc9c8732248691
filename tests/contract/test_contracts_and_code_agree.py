"""Contracts first: the files under contracts/ and the typed messages say the same, both ways, and a published file never changes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from barecount_contracts import CHANGES, READ_ACTIONS, CloudEvent, Envelope, EvidenceRecord, catalogue, permissions, problem_types
from barecount_contracts.schema import asyncapi, published, schema_text, schemas

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "contracts" / "schemas"
EXAMPLES = ROOT / "contracts" / "examples"
PUBLISH = "run `make contracts`"


def test_every_type_of_the_catalogue_has_a_class_and_every_class_a_topic() -> None:
    listed = {name for topic in catalogue().topics.values() for name in topic.payloads}
    known = {f"{name}.v{version}" for name, version in published()}
    assert listed - known == set(), "contracts/topics.yaml names types without a class in contracts/barecount_contracts/"
    assert known - listed == set(), "classes that no topic of contracts/topics.yaml carries"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_published_schema_says_what_the_class_says(name: str) -> None:
    file = SCHEMAS / f"{name}.json"
    assert file.exists(), f"{name} has no schema file: {PUBLISH}"
    assert file.read_text() == schema_text(schemas()[name]), (
        f"{file.name} is published and its class says something else: restore the class, or add the type's next version"
    )


def test_no_schema_file_is_without_a_class() -> None:
    assert {file.stem for file in SCHEMAS.glob("*.json")} == set(schemas())


def test_a_published_schema_never_changed_since_the_commit_that_added_it() -> None:
    """Compares each committed schema with its first committed text: a landed contract is append-only."""
    listed = subprocess.run(
        ["git", "log", "--diff-filter=M", "--format=%h %s", "--", "contracts/schemas"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert listed.stdout == "", "these commits changed a published schema; add a new version instead:\n" + listed.stdout


@pytest.mark.parametrize("name", sorted(f"{name}.v{version}" for name, version in published()))
def test_every_type_has_an_example_that_its_schema_and_class_accept(name: str) -> None:
    file = EXAMPLES / f"{name}.json"
    assert file.exists(), f"add contracts/examples/{name}.json: a whole record as it stands in the log"
    record = json.loads(file.read_text())
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    if "specversion" in record:
        # what stands on a topic of form `cloudevent`, in the JSON event format
        event = CloudEvent.model_validate(record)
        assert event.type in CHANGES
        assert event.change().to_data() == record["data"]
        jsonschema.Draft202012Validator(schemas()[name], format_checker=checker).validate(record["data"])
        return
    envelope = Envelope.model_validate(record)
    assert f"{envelope.type}.v{envelope.version}" == name
    assert envelope.payload().to_data() == record["data"]
    jsonschema.Draft202012Validator(schemas()[name], format_checker=checker).validate(record["data"])
    jsonschema.Draft202012Validator(schemas()["Envelope.v1"], format_checker=checker).validate(record)


def test_every_action_is_given_to_somebody_and_every_command_has_a_rule() -> None:
    rules = permissions()
    given = set().union(*rules.roles.values())
    assert given == set(rules.actions), "permissions.yaml: roles and actions disagree"
    commands = {name.rpartition(".v")[0] for topic in catalogue().topics.values() if topic.is_inbox for name in topic.payloads}
    assert commands == set(rules.commands), "permissions.yaml: each command needs its action and issuers"
    assert {rule.action for rule in rules.commands.values()} <= set(rules.actions)


def test_every_problem_has_a_status_a_title_and_a_remedy() -> None:
    for code, row in problem_types().items():
        assert 400 <= row.status < 600, code
        assert row.title, code
        assert row.remedy.endswith("."), code


def test_facts_and_subjects_name_fields_that_exist() -> None:
    for (name, _), cls in published().items():
        for path in (*cls.FACTS, *((cls.SUBJECT[1],) if cls.SUBJECT else ())):
            head = path.split(".")[0]
            assert head in cls.model_fields, f"{name}: {path}"


def test_asyncapi_names_every_topic_and_resolves() -> None:
    document = asyncapi("0.1.0")
    assert document["asyncapi"].startswith("3.")
    assert {channel["address"] for channel in document["channels"].values()} == set(catalogue().topics)
    for channel in document["channels"].values():
        for reference in channel["messages"].values():
            assert reference["$ref"].rpartition("/")[2] in document["components"]["messages"]


def test_the_import_contracts_list_every_member_of_the_workspace() -> None:
    """import-linter passes silently over a package that is missing from root_packages, or a module that does not exist."""
    config = (ROOT / ".importlinter").read_text()
    members = [*ROOT.glob("contracts/barecount_*"), *ROOT.glob("libs/*/barecount_*"), *ROOT.glob("services/*/barecount_*")]
    members += [*ROOT.glob("deploy/local/barecount_*")]
    packages = {folder.name for folder in members if folder.is_dir() and (folder / "__init__.py").exists()}
    roots = config.split("root_packages =")[1].split("include_external")[0].split()
    assert set(roots) == packages, ".importlinter: root_packages and the workspace's members disagree"
    for module in ("aiokafka", "asyncpg", "httpx", "fastapi", "faststream", "uvicorn", "deltalake", "duckdb", "confluent_kafka", "pyarrow"):
        assert module in config
        __import__(module)


def test_topics_of_events_never_expire() -> None:
    raw = yaml.safe_load((ROOT / "contracts" / "topics.yaml").read_text())
    for name, row in raw["topics"].items():
        if name.endswith((".events", ".attempts")) or name in ("evidence.ledger", "api.calls"):
            assert row["retention"] == "forever", name


def test_evidence_records_keep_their_form() -> None:
    assert EvidenceRecord.model_fields["kind"].default == "record"


def test_every_public_change_tells_of_a_payload_that_exists_and_needs_an_action_that_exists() -> None:
    known = {name for name, _ in published()}
    assert {told for told, _ in CHANGES.values()} <= known, "barecount_contracts/changes.py names payload types that do not exist"
    assert set(READ_ACTIONS.values()) <= set(permissions().actions)
