"""A consistency token is taken unchanged, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from barecount_contracts import Position
from barecount_readmodel import Token, TokenError, token_secret
from hypothesis import given
from hypothesis import strategies as st

SECRET, OTHER = bytes(range(32)), bytes(32)
TOKEN = Token.of(Position(topic="runs.commands", partition=2, offset=41))


def code_of(text: str, secret: bytes = SECRET, tenant: str = "acme") -> str:
    with pytest.raises(TokenError) as caught:
        Token.decode(text, secret, tenant)
    return caught.value.code


def test_a_token_of_another_installation_and_of_a_secret_that_was_replaced_is_foreign() -> None:
    assert code_of(TOKEN.encode(OTHER, "acme")) == "token-foreign"


@pytest.mark.parametrize("tenant", ["globex", "acme-2", "acm", "", "*"])
def test_a_token_that_another_tenant_was_given_is_foreign(tenant: str) -> None:
    assert code_of(TOKEN.encode(SECRET, "acme"), tenant=tenant) == "token-foreign"


def test_a_token_of_another_generation_is_foreign_or_of_the_future() -> None:
    assert code_of(Token((("t", 0, 1),), generation=0).encode(SECRET, "acme")) == "token-foreign"
    assert code_of(Token((("t", 0, 1),), generation=99).encode(SECRET, "acme")) == "token-future"


@pytest.mark.parametrize("text", ["", "x", ".", "a.b", "é.é", "=.=", "a" * 5000 + ".b", "a\n.b"])
def test_what_is_no_token_is_refused_as_such(text: str) -> None:
    assert code_of(text) in ("token-malformed", "token-foreign")


def test_no_byte_can_be_changed() -> None:
    """Every byte to every other one: the last of the signature too, where two letters can stand for the same bits."""
    text = TOKEN.encode(SECRET, "acme")
    for at, was in enumerate(text):
        for put in map(chr, range(256)):
            if put != was:
                assert code_of(text[:at] + put + text[at + 1 :]) in ("token-foreign", "token-malformed")


@given(st.data())
def test_nothing_can_be_left_out_put_in_or_moved(data: st.DataObject) -> None:
    text = TOKEN.encode(SECRET, "acme")
    begin, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    changed = text[:begin] + data.draw(st.one_of(st.just(""), st.just(text[end:begin:-1]), st.text(max_size=8))) + text[end:]
    if changed != text:
        assert code_of(changed) in ("token-foreign", "token-malformed")


@given(st.text())
def test_any_text_is_a_token_or_a_token_error(text: str) -> None:
    assert code_of(text).startswith("token-")


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(0, 99), st.integers(0, 2**53)), max_size=5))
def test_a_token_reads_back_as_it_was(positions: list[tuple[str, int, int]]) -> None:
    token = Token(tuple(positions), generation=1)
    assert Token.decode(token.encode(SECRET, "acme"), SECRET, "acme") == token


def test_the_secret_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    first = token_secret(keys)
    assert token_secret(keys) == first
    assert len(first) == 32
    assert stat.S_IMODE((keys / "token.secret").stat().st_mode) == 0o600
    assert [path.name for path in keys.iterdir()] == ["token.secret"]


def test_a_damaged_secret_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "token.secret").write_bytes(b"short")
    with pytest.raises(ValueError, match="holds 5 bytes"):
        token_secret(tmp_path)
