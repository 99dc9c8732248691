"""A consistency token that is not of here, not of this caller, or not of this log: refused with its code and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_bytes, token_hex

import httpx
import pytest
from barecount_contracts import Position
from barecount_readmodel import Token, token_secret

from tests.integration.command.kit import asking
from tests.integration.command.test_admission import registered, sample
from tests.support.service import Service

pytestmark = pytest.mark.integration

HERE = Position(topic="pipelines.commands", partition=0, offset=0)
BEYOND = HERE.model_copy(update={"offset": 10_000_000})


@pytest.fixture(scope="module")
async def tenant(service: Service) -> str:
    name = f"tokens-{token_hex(3)}"
    await registered(service, name)
    return name


@pytest.fixture
async def developer(service: Service, tenant: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(service, "developer", tenant) as client:
        yield client


async def refused(client: httpx.AsyncClient, token: str, code: str, path: str = "/pipelines", status: int = 400) -> str:
    """The detail of the refusal, which says what to do."""
    answer = await client.get(path, headers={"X-Consistency-Token": token})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["code"] == code, problem
    assert problem["remedy"]
    return str(problem["detail"])


async def test_a_token_of_another_tenant_is_refused_in_the_same_words_whatever_it_names(
    service: Service, developer: httpx.AsyncClient, tenant: str
) -> None:
    written = await developer.post("/pipelines", json=sample("revenue-kpi"))
    token = written.headers["x-consistency-token"]
    shown = await developer.get("/pipelines/revenue-kpi", headers={"X-Consistency-Token": token})
    assert shown.status_code == 200, "its own tenant reads what it wrote"
    secret = token_secret(service.keys)
    async with asking(service, "developer", f"stranger-{token_hex(3)}") as stranger:
        words = {await refused(stranger, told, "token-foreign") for told in (token, Token.of(BEYOND).encode(secret, tenant))}
        # nor does a thing of theirs answer otherwise than one that nobody has
        words.add(await refused(stranger, token, "token-foreign", "/pipelines/revenue-kpi"))
        words.add(await refused(stranger, token, "token-foreign", "/pipelines/nothing-kpi"))
        words.add(await refused(stranger, Token.of(HERE).encode(token_bytes(32), "nobody"), "token-foreign"))
    assert len(words) == 1, words
    assert tenant not in words.pop()


async def test_a_token_of_another_secret_generation_or_topic_is_foreign(
    service: Service, developer: httpx.AsyncClient, tenant: str
) -> None:
    secret = token_secret(service.keys)
    detail = await refused(developer, Token.of(HERE).encode(token_bytes(32), tenant), "token-foreign")
    assert "secret was replaced" in detail
    await refused(developer, Token((("pipelines.commands", 0, 0),), generation=0).encode(secret, tenant), "token-foreign")
    # another environment may share a secret by mistake: its topics are still not ours
    other = Token.of(HERE.model_copy(update={"topic": "staging.commands"})).encode(secret, tenant)
    assert "staging.commands is no topic of this installation" in await refused(developer, other, "token-foreign")


async def test_a_position_that_the_log_does_not_have_is_of_the_future_and_how_long_the_log_is_stays_untold(
    service: Service, developer: httpx.AsyncClient, tenant: str
) -> None:
    secret = token_secret(service.keys)
    assert (await refused(developer, Token.of(BEYOND).encode(secret, tenant), "token-future")).endswith("beyond the log's end")
    nowhere = BEYOND.model_copy(update={"partition": 99})
    await refused(developer, Token.of(nowhere).encode(secret, tenant), "token-future")
    await refused(developer, Token((("pipelines.commands", 0, 0),), generation=99).encode(secret, tenant), "token-future")


async def test_a_header_that_is_no_token_is_refused_as_such_and_one_that_is_too_long_before_it_is_read(
    service: Service, developer: httpx.AsyncClient, tenant: str
) -> None:
    good = Token.of(HERE).encode(token_secret(service.keys), tenant)
    for text in ("", " ", "no token at all", ".", f"{good}.", f".{good}", f"{good} {good}", f'"{good}"', f"{good},{good}", "é"):
        # a field's value as bytes: httpx takes only ASCII by itself
        answer = await developer.get("/pipelines", headers=[(b"X-Consistency-Token", text.encode("latin-1"))])
        assert (answer.status_code, answer.json()["code"]) in ((400, "token-malformed"), (400, "token-foreign")), (text, answer.text)
        assert answer.json()["remedy"]
    detail = await refused(developer, "a" * 4097, "invalid-request", status=422)
    assert "X-Consistency-Token" in detail
