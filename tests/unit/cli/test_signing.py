"""What the CLI signs, checked by a library that knows nothing of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from barecount_cli.errors import CliError
from barecount_cli.publish import command_of
from barecount_cli.signing import make_key, public_of, sign
from jwt import InvalidSignatureError
from jwt.api_jws import PyJWS

from tests.support.publisher import Publisher

ASKED = {"type": "StartRun", "version": 1, "data": {"pipeline": "p", "data_partition": "2025-10-04"}}


def test_a_signature_verifies_with_another_library_over_exactly_the_records_bytes(tmp_path: Path) -> None:
    key = make_key(tmp_path / "ci.pem")
    signed = sign(key, tenant="acme", publisher="ci", asked=ASKED, jti="1", exp=7)
    protected, empty, signature = signed.jws.decode().split(".")
    assert empty == ""

    def whole(value: bytes) -> str:
        return f"{protected}.{base64.urlsafe_b64encode(value).rstrip(b'=').decode()}.{signature}"

    found = PyJWS().decode_complete(whole(signed.value), key.public_key(), algorithms=["EdDSA"])
    assert found["header"] == {"alg": "EdDSA", "kid": "acme/ci", "jti": "1", "exp": 7}
    with pytest.raises(InvalidSignatureError):
        PyJWS().decode_complete(whole(signed.value + b" "), key.public_key(), algorithms=["EdDSA"])


def test_the_id_is_that_which_another_author_computes(tmp_path: Path) -> None:
    key = make_key(tmp_path / "ci.pem")
    signed, other = sign(key, tenant="acme", publisher="ci", asked=ASKED, jti="ü", exp=7), Publisher("acme", "ci", key)
    assert (signed.command_id, public_of(key)) == (other.id_of("ü"), other.public_key)
    assert json.loads(signed.value)["principal"] == other.principal


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ci.pem"
    assert public_of(make_key(path)) == public_of(make_key(path))
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("not a key")
    with pytest.raises(CliError, match="not a readable private key"):
        make_key(path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "[]", "{", "type: StartRun", "type: StartRun\ndata: 7", "type: 7\ndata: {}"),
        *("type: A\nversion: x\ndata: {}", "type: A\nversion: true\ndata: {}", "type: A\ndata: {}\nid: 1"),
        *("type: A\ndata: {a: !!binary aGk=}", "type: A\ndata: {a: !!python/x 1}"),
    ],
)
def test_a_file_that_is_no_command_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "command.yaml").write_text(text)
    with pytest.raises(CliError) as refused:
        command_of(tmp_path / "command.yaml")
    assert refused.value.remedy


def test_a_date_stays_a_text(tmp_path: Path) -> None:
    (tmp_path / "command.yaml").write_text("type: StartRun\ndata: {data_partition: 2025-10-04, n: 1.5, on: yes}\n")
    assert command_of(tmp_path / "command.yaml")["data"]["data_partition"] == "2025-10-04"
