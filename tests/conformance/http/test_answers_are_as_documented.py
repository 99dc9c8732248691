"""The running product held against its own /openapi.json by schemathesis: generated requests, right and wrong ones.

Judged: no answer 5xx but a documented 503, and status, content type and body as documented for the operation. Requests follow from a
fixed seed, so a failure comes again.
"""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.routes import ENDLESS, of_path, things_of_the_story
from tests.support.stack import Stack

EXAMPLES = 20
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance, response_headers_conformance]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.usefixtures("story")]
load_all_checks()


def test_every_answer_is_as_documented(product: Stack) -> None:
    client = product.client("tenant_admin")
    things = things_of_the_story(client)
    document = httpx.get(f"{client.address}/openapi.json", trust_env=False).json()
    schema = schemathesis.openapi.from_dict(document)
    failures: dict[str, str] = {}
    with httpx.Client(base_url=client.address, trust_env=False, timeout=40) as http:
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path in ENDLESS:
                continue  # each request would be waited for until it times out; tests/integration/streams reads them
            try:
                _judge(operation, http, client.token, of_path(things, operation.path))
            except BaseExceptionGroup as group:
                failures[operation.label] = "\n".join(str(one) for one in group.exceptions)
            except Exception as error:
                failures[operation.label] = f"{type(error).__name__}: {error}"
    assert not failures, "\n\n".join(f"{label}\n{text[:1500]}" for label, text in failures.items())


def _judge(operation: Any, http: httpx.Client, token: str | None, own: dict[str, Any]) -> None:
    """Generated requests, every third one about a thing that exists."""
    numbers = itertools.count()

    @seed(20251004)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def ask(case: Any) -> None:
        known = next(numbers) % 3 == 0
        if known and operation.method.upper() == "GET":
            case.path_parameters = {**(case.path_parameters or {}), **{k: v for k, v in own.items() if "{" + k + "}" in operation.path}}
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
        if known:
            # as new as it is, and with its outcome
            case.headers.pop("X-Consistency-Token", None)
            case.headers["Prefer"] = "wait=20"
        answer = case.call(base_url=str(http.base_url), timeout=40)
        # a documented 500 says what it looks like, not that it may happen
        assert answer.status_code < 500 or answer.status_code == 503, (
            f"{answer.status_code} {answer.text[:300]} for\n{case.as_curl_command()}"
        )
        if answer.status_code == 431:
            return  # a head that no server reads: the edge's own answer, before any route
        case.validate_response(answer, checks=CHECKS)

    ask()


FAR = 99_999_999_999_999_999_999


def _cursor(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "path",
    [
        *("/runs/a%00b", "/runs?pipeline=%00", "/dlq?stage=%00", "/slos?pipeline=%00", "/pipelines/a%00b", "/contracts/a%00/v1"),
        *("/subjects/a%00/versions", "/subjects?subjectPrefix=%00", "/lineage?run_id=%00", "/lineage/runs/%00/events"),
        *("/lineage/columns?dataset=%00", "/evidence?run_id=%00", "/evidence/chain?run_id=%00", f"/evidence?cursor={FAR}"),
        *("/evidence?since=0001-01-01T00:00:00%2B14:00", "/evidence?until=9999-12-31T23:59:59-14:00", f"/pipelines?cursor={_cursor(FAR)}"),
        *(f"/pipelines/revenue-kpi?version={FAR}", f"/pipelines/revenue-kpi/history?cursor={_cursor(FAR)}"),
        *(f"/runs/rev_kpi_20251004_01/logs?cursor={_cursor(FAR)}", f"/runs?cursor={_cursor('0001-01-01T00:00:00+14:00', 'a')}"),
    ],
)
def test_what_no_row_can_hold_is_refused_and_not_a_fault(product: Stack, path: str) -> None:
    client = product.client("tenant_admin")
    answer = client.http.get(path, headers={"Authorization": f"Bearer {client.token}"})
    assert answer.status_code == 422, f"{answer.status_code} {answer.text}"
    assert answer.json()["code"] == "invalid-request"
