"""`--as-of` at its edges, as a person meets them: what was wrong with the moment, what to write instead, and the exit code for scripts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from barecount_cli.app import app
from click.testing import Result
from typer.testing import CliRunner

from tests.support.stack import Stack

RUN, PIPELINE = "rev_kpi_20251004_01", "revenue-kpi"
REFUSED = 5

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("story")]


def barecount(product: Stack, *words: str) -> Result:
    # a terminal wide enough that no message is broken into lines
    return CliRunner().invoke(app, words, env={**product.env, "COLUMNS": "400"})


def position_of(product: Stack, path: str) -> str:
    return product.client().send("GET", path).headers["X-As-Of"]


@pytest.mark.parametrize("verb", [("runs", RUN), ("pipelines", PIPELINE)], ids=["a run", "a pipeline"])
@pytest.mark.parametrize(
    ("moment", "says", "remedy"),
    [
        ("yesterday", "as-of-malformed (400): 'yesterday' is neither a time (RFC 3339) nor a position of the log", "2026-11-25T10:00:00Z"),
        ("", "as-of-malformed (400): '' is neither a time", "2026-11-25T10:00:00Z"),
        ("2025-10-04", "as-of-malformed (400): '2025-10-04' is neither a time", "2026-11-25T10:00:00Z"),
        ("2026-02-30T10:00:00Z", "as-of-malformed (400): '2026-02-30T10:00:00Z' is no time that exists", "2026-11-25T10:00:00Z"),
        ("2025-10-04T10:00:00", "names no zone; end it with Z for UTC", "2026-11-25T10:00:00Z"),
        ("control.events/1", "as-of-malformed (400): 'control.events/1' is no position", "control.events/1@57"),
        ("webhooks.attempts/0@1", "as-of-foreign (400): webhooks.attempts is not a log that this answer is made of", "or a time"),
    ],
)
def test_a_moment_that_cannot_be_asked_about_is_refused_with_what_to_write(
    product: Stack, verb: tuple[str, str], moment: str, says: str, remedy: str
) -> None:
    ended = barecount(product, *verb, "--as-of", moment)
    assert (ended.exit_code, ended.stdout) == (REFUSED, ""), ended.output
    assert says in ended.stderr
    assert remedy in ended.stderr


@pytest.mark.parametrize("verb", [("runs", RUN), ("pipelines", PIPELINE)], ids=["a run", "a pipeline"])
def test_what_has_not_come_yet_is_refused_with_what_time_it_is_and_where_the_log_ends(product: Stack, verb: tuple[str, str]) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    ended = barecount(product, *verb, "--as-of", tomorrow)
    assert (ended.exit_code, ended.stdout) == (REFUSED, ""), ended.output
    assert "as-of-future (400)" in ended.stderr
    assert "has not come yet; here it is" in ended.stderr
    where, _, offset = position_of(product, "/" + "/".join(verb)).split(",")[0].partition("@")
    ended = barecount(product, *verb, "--as-of", f"{where}@{int(offset) + 1_000_000}")
    assert (ended.exit_code, ended.stdout) == (REFUSED, ""), ended.output
    assert "lies beyond the log's end: its last position is" in ended.stderr


@pytest.mark.parametrize("verb", [("runs", RUN), ("pipelines", PIPELINE)], ids=["a run", "a pipeline"])
def test_before_its_first_event_a_thing_is_not_there_and_the_words_say_then(product: Stack, verb: tuple[str, str]) -> None:
    ended = barecount(product, *verb, "--as-of", "2020-01-01T00:00:00Z")
    assert (ended.exit_code, ended.stdout) == (REFUSED, ""), ended.output
    assert "-not-found (404)" in ended.stderr
    assert "As of 2020-01-01T00:00:00Z there was none of that name: give a later moment" in ended.stderr
    # without a moment the remedy is the API's
    ended = barecount(product, verb[0], "nobody-made-it")
    assert (ended.exit_code, "As of" in ended.stderr) == (REFUSED, False)


def test_a_list_has_no_past_and_what_is_over_cannot_be_followed(product: Stack) -> None:
    for verb in ("runs", "pipelines"):
        ended = barecount(product, verb, "--as-of", "2025-10-04T10:00:00Z")
        assert (ended.exit_code, ended.stdout) == (1, ""), ended.output
        assert f"barecount {verb} " in ended.stderr
    ended = barecount(product, "runs", RUN, "--follow", "--as-of", "2025-10-04T10:00:00Z")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "Give either --follow or --as-of." in ended.stderr


def test_the_position_of_an_answer_and_a_time_with_an_offset_show_it_again(product: Stack) -> None:
    shown = product.client().get(f"/runs/{RUN}")
    now = datetime.now(UTC).astimezone().isoformat()
    for moment in (position_of(product, f"/runs/{RUN}"), now):
        ended = barecount(product, "runs", RUN, "--as-of", moment, "--output", "json")
        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.stdout) == shown, moment
