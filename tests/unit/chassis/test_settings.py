"""What the environment must say, what a document of a refusal says, and what a caller may say beside a request."""

from __future__ import annotations

from pathlib import Path

import pytest
from barecount_chassis import Problem, Settings, SettingsError, prefer_wait
from fastapi import Request


def test_missing_and_wrong_variables_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARECOUNT_HTTP_PORT", "eighty")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    message = str(caught.value)
    for part in ("BARECOUNT_SERVICE is not set", "BARECOUNT_KAFKA_BOOTSTRAP is not set", "BARECOUNT_HTTP_PORT is not valid"):
        assert part in message


def test_an_error_never_repeats_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARECOUNT_LOG_LEVEL", "hunter2")
    with pytest.raises(SettingsError) as caught:
        Settings.load(service="command", kafka_bootstrap="localhost:9092")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Settings(service="a", kafka_bootstrap="b", kafka_password="hunter2", log_level="info"))


def test_an_optional_setting_that_this_service_needs_is_named() -> None:
    settings = Settings(service="command", kafka_bootstrap="localhost:9092")
    with pytest.raises(SettingsError, match="BARECOUNT_DATABASE_URL is not set and command needs it"):
        settings.need("database_url")


def test_a_misspelled_variable_is_found_with_its_nearest_name() -> None:
    settings = Settings(service="command", kafka_bootstrap="localhost:9092")
    found = settings.unknown_variables({"BARECOUNT_KAFKA_BOOTSRAP": "x", "BARECOUNT_SERVICE": "command", "HOME": "/"})
    assert found == {"BARECOUNT_KAFKA_BOOTSRAP": "BARECOUNT_KAFKA_BOOTSTRAP"}


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SERVICE": "command", "KAFKA_BOOTSTRAP": "k:1", "KAFKA_USERNAME": "command", "KAFKA_PASSWORD": "p"}.items():
        monkeypatch.setenv(f"BARECOUNT_{name}", value)
    monkeypatch.setenv("BARECOUNT_DATA_DIR", "/data")
    settings = Settings.load()
    assert settings.kafka() == {"bootstrap": "k:1", "username": "command", "password": "p"}
    assert settings.keys == Path("/data/keys")


def test_a_problem_needs_a_row_in_problems_yaml() -> None:
    with pytest.raises(KeyError):
        Problem("no-such-code", "x")


def test_members_of_a_problem_never_replace_the_standard_ones() -> None:
    document = Problem("unknown-contract", "revenue-kpi v9.9", status=200, title="fine", extra={"exists": ["v3.2"]}).document()
    assert (document["status"], document["title"]) == (422, "The manifest names a contract that is not registered")
    assert document["extra"] == {"exists": ["v3.2"]}
    assert document["type"] == "https://barecount.io/problems/unknown-contract"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("wait=5", 5.0),
        ("respond-async, wait=10", 10.0),
        ('wait="2"', 2.0),
        ("Wait = 3; foo=1", 3.0),
        ("wait=9999", 30.0),
        ("wait=0", 0.0),
        ("wait=soon", None),
        ("wait=-1", None),
        ("return=minimal", None),
        ("", None),
    ],
)
async def test_prefer_wait_is_read_and_capped(said: str, seconds: float | None) -> None:
    request = Request({"type": "http", "headers": [(b"prefer", said.encode())]})
    assert await prefer_wait(request) == seconds
