"""Canonical JSON against RFC 8785's own vectors, and what has no canonical form is refused with the place named."""

import json
import math
import struct
from pathlib import Path

import pytest
from barecount_transparency import MAX_DEPTH, JsonError, canonical, digest, digest_bytes, loads, parse_digest
from hypothesis import given
from hypothesis import strategies as st

# cyberphone/json-canonicalization@19d51d7fe467 testdata/, by the author of RFC 8785, Apache-2.0
VECTORS = Path(__file__).parent / "vectors" / "jcs"

# RFC 8785, appendix B: the bits of a double and its canonical text
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(
    ("value", "pointer", "why"),
    [
        (math.nan, "", "nan is not JSON"),
        ({"a": [1, {"b/c": math.inf}]}, "/a/1/b~1c", "inf is not JSON"),
        ({"n": 2**53}, "/n", "carry it as a string"),
        ({"n": -(2**53)}, "/n", "carry it as a string"),
        ({"s": "x\ud800"}, "/s", "lone surrogate"),
        ({"outer": {"\udfff": 1}}, "/outer", "lone surrogate"),
        ({"m": {1: "one"}}, "/m", "not a string"),
        ({"m": {None: "none"}}, "/m", "not a string"),
        ({"b": [b"bytes"]}, "/b/0", "bytes has no JSON form"),
        ({"s": {1, 2}}, "/s", "set has no JSON form"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_place(value: object, pointer: str, why: str) -> None:
    with pytest.raises(JsonError, match=why) as refusal:
        canonical(value)
    assert refusal.value.pointer == pointer


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(JsonError, match="nested deeper"):
        canonical(loop)


def test_depth_is_limited_by_a_number_and_not_by_the_stack() -> None:
    def nested(levels: int) -> object:
        value: object = "leaf"
        for _ in range(levels):
            value = [value]
        return value

    assert loads(canonical(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(JsonError, match="nested deeper"):
        canonical(nested(MAX_DEPTH + 1))
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(JsonError, match="nested deeper"):
            loads(b"[" * levels + b"]" * levels)
    assert loads(canonical(["[{" * MAX_DEPTH])) == ["[{" * MAX_DEPTH]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a":1,"a":1}', "stands twice"),
        (b'{"o":{"a":1,"\\u0061":2}}', "stands twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e400]", "larger than a double"),
        (b"[9007199254740993]", "not exact"),
        (b"[" + b"9" * 5000 + b"]", "not exact"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\udc00":1}', "lone surrogate"),
        (b'["\xff"]', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"[1,]", "not JSON"),
        (b"[01]", "not JSON"),
        (b"{} {}", "not JSON"),
        (b'["\x01"]', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_a_text_that_two_readers_could_read_differently_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(JsonError, match=why):
        loads(text)


def test_a_text_given_as_str_is_read_by_the_same_rules() -> None:
    with pytest.raises(JsonError, match="lone surrogate"):
        loads('["\ud800"]')
    assert loads('{"a":"é"}') == {"a": "é"}


@pytest.mark.parametrize("text", ["sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha512:" + "0" * 64, "0" * 64, "sha256:" + "٠" * 64])
def test_a_malformed_digest_is_refused(text: str) -> None:
    with pytest.raises(JsonError, match="not a digest"):
        parse_digest(text)


def test_a_digest_is_over_the_canonical_bytes() -> None:
    # sha256 of the two bytes {}
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" == digest_bytes(b"{}")
    assert digest({"b": 1.0, "a": "é"}) == digest_bytes('{"a":"é","b":1}'.encode())
    assert parse_digest(digest({})).hex() == digest({})[7:]


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_the_vectors_of_the_rfcs_author_come_out_byte_for_byte(name: str) -> None:
    value = loads((VECTORS / f"{name}.input.json").read_bytes())
    assert canonical(value) == (VECTORS / f"{name}.output.json").read_bytes()


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_ecmascript_writes_them(bits: str, text: str) -> None:
    assert canonical(struct.unpack(">d", bytes.fromhex(bits))[0]) == text.encode()


def test_keys_sort_by_utf16_units_and_not_by_code_point() -> None:
    assert canonical({"\ufb33": 2, "\U0001f600": 1}) == '{"\U0001f600":1,"\ufb33":2}'.encode()
    assert json.dumps({"\ufb33": 2, "\U0001f600": 1}, sort_keys=True, ensure_ascii=False) != '{"\U0001f600":1,"\ufb33":2}'


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_back_and_written_the_same(value: object) -> None:
    written = canonical(value)
    back = loads(written)
    assert back == value
    assert canonical(back) == written


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9), min_size=2), st.randoms())
def test_the_order_of_members_changes_nothing(value: dict[str, int], random: object) -> None:
    items = list(value.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert canonical(dict(items)) == canonical(value)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_read_or_refused_and_never_break(data: bytes) -> None:
    try:
        value = loads(data)
    except JsonError:
        return
    canonical(value)
