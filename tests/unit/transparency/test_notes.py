"""Signed notes, checkpoints and keys: the C2SP specifications' own examples open, and nothing near them does."""

import base64

import pytest
from barecount_transparency import (
    EMPTY_ROOT,
    MAX_SIGNATURES,
    Checkpoint,
    CheckpointError,
    KeyFormatError,
    NoteError,
    NoteUnverified,
    Signature,
    SigningKey,
    VerifyingKey,
    cosign_note,
    open_checkpoint,
    open_note,
    parse_note,
    sign_checkpoint,
    sign_note,
)
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

# c2sp.org/signed-note, section "Example"
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# golang.org/x/mod/sumdb/note, package documentation
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
# c2sp.org/tlog-checkpoint, its first example
SPEC_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()

ORIGIN = "log.example/barecount"
LOG = SigningKey.from_seed(ORIGIN, bytes(range(32)))
OTHER = SigningKey.from_seed("witness.example/w1", bytes(32))
ROOT = bytes(range(32))


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        SPEC_VKEY.replace("530d903a", "530d903b"),
        SPEC_VKEY.replace("530d903a", "530D903A"),
        SPEC_VKEY.replace("example.com/foo", "example.com/fop"),
        SPEC_VKEY.replace("example.com/foo", ""),
        SPEC_VKEY.replace("example.com/foo", "example com/foo"),
        SPEC_VKEY[:-4],
        SPEC_VKEY + "\n",
        SPEC_VKEY + "=",
        "example.com/foo+530d903a+" + "BO" + "ky" * 21,
    ],
)
def test_a_vkey_that_is_not_exactly_one_is_refused(vkey: str) -> None:
    with pytest.raises(KeyFormatError):
        VerifyingKey.parse(vkey)


@pytest.mark.parametrize("kind", [0x00, 0x02, 0x04, 0x06, 0xFF])
def test_a_vkey_of_another_signature_type_is_refused_even_with_an_ed25519_id(kind: int) -> None:
    key = LOG.verifying_key
    material = base64.b64encode(bytes([kind]) + key.public_key).decode()
    with pytest.raises(KeyFormatError, match=f"signature type {kind:#04x}"):
        VerifyingKey.parse(f"{key.name}+{key.key_id.hex()}+{material}")


def test_a_key_of_another_kind_is_refused() -> None:
    ec = generate_private_key(SECP256R1())
    private = ec.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = ec.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for refused in (
        lambda: SigningKey.from_pem(ORIGIN, private),
        lambda: VerifyingKey.from_pem(ORIGIN, public),
        lambda: SigningKey.from_pem(ORIGIN, b"nothing"),
        lambda: VerifyingKey.from_pem(ORIGIN, b"nothing"),
        lambda: SigningKey.from_pem(ORIGIN, LOG.to_pem(b"password")),
        lambda: SigningKey.from_pem(ORIGIN, LOG.to_pem(b"password"), b"wrong"),
        lambda: SigningKey.from_seed(ORIGIN, bytes(31)),
        lambda: VerifyingKey(ORIGIN, bytes(31)),
        lambda: SigningKey.from_seed("a+b", bytes(32)),
        lambda: SigningKey.from_seed("a b", bytes(32)),
        lambda: SigningKey.from_seed("a\u2003b", bytes(32)),
        lambda: SigningKey.from_seed("a\ud800", bytes(32)),
    ):
        with pytest.raises(KeyFormatError):
            refused()


def test_a_note_with_any_byte_of_its_text_or_signature_changed_does_not_open() -> None:
    key = VerifyingKey.parse(SPEC_VKEY)
    for at in range(len(SPEC_NOTE)):
        for bit in range(8):
            changed = bytearray(SPEC_NOTE)
            changed[at] ^= 1 << bit
            with pytest.raises(NoteError):
                open_note(bytes(changed), [key])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        "text\n\n— a AAAAAAA=".encode(),
        b"text\n\n- a AAAAAAA=\n",
        "text\n\n—a AAAAAAA=\n".encode(),
        "text\n\n— a  AAAAAAA=\n".encode(),
        "text\n\n— a AAAAAA==\n".encode(),
        "text\n\n— a AAAAAAA\n".encode(),
        "text\n\n— a AAAAAAB=\n".encode(),
        "text\n\n— a+b AAAAAAA=\n".encode(),
        "text\r\n\n— a AAAAAAA=\n".encode(),
        "te\txt\n\n— a AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        ("text\n\n" + "— a AAAAAAA=\n" * (MAX_SIGNATURES + 1)).encode(),
    ],
)
def test_a_malformed_note_is_refused(note: bytes) -> None:
    with pytest.raises(NoteError):
        parse_note(note)


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    note = sign_note("text\n", OTHER)
    with pytest.raises(NoteUnverified, match="configure the right vkey"):
        open_note(note, [LOG.verifying_key])
    with pytest.raises(NoteUnverified, match="no known key"):
        open_note(note, [])
    same_name = SigningKey.from_seed(OTHER.name, b"\x07" * 32)
    with pytest.raises(NoteUnverified, match="no known key"):
        open_note(note, [same_name.verifying_key])


def test_one_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    good = parse_note(sign_note("text\n", LOG, OTHER))
    forged = Signature(OTHER.name, OTHER.verifying_key.key_id, bytes(64))
    note = type(good)(good.text, (good.signatures[0], forged)).encode()
    with pytest.raises(NoteUnverified, match="is wrong"):
        open_note(note, [LOG.verifying_key, OTHER.verifying_key])
    assert open_note(note, [LOG.verifying_key]).unknown == (forged,)


def test_a_text_that_no_note_can_hold_is_not_signed() -> None:
    for text in ("", "no newline", "tab\t\n", "cr\r\n", "\ud800\n"):
        with pytest.raises(NoteError):
            sign_note(text, LOG)
    with pytest.raises(NoteError):
        sign_note("text\n")
    with pytest.raises(NoteError):
        sign_note("text\n", *[LOG] * (MAX_SIGNATURES + 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n01\n{root}\n",
        "o\n+1\n{root}\n",
        "o\n 1\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n١\n{root}\n",
        "o\n1_0\n{root}\n",
        "o\n9223372036854775808\n{root}\n",
        "o\n" + "9" * 5000 + "\n{root}\n",
        "o\n0\n{root}\n",
        "\n1\n{root}\n",
        "o\n1\n{root}",
        "o\n1\n{root}\n\n",
        "o\n1\n{root}\n\next\n",
        "o\n1\n{root}=\n",
        "o\n1\nAAAA\n",
        "o\n1\n\n",
    ],
)
def test_a_text_that_is_not_strictly_a_checkpoint_is_refused(text: str) -> None:
    root = Checkpoint("o", 1, ROOT).text.split("\n")[2]
    assert Checkpoint.parse(f"o\n1\n{root}\n").root == ROOT
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text.replace("{root}", root))


def test_a_checkpoint_that_cannot_be_is_not_made() -> None:
    for origin, size, root, extensions in (
        ("", 1, ROOT, ()),
        ("two\nlines", 1, ROOT, ()),
        ("o", -1, ROOT, ()),
        ("o", 2**63, ROOT, ()),
        ("o", 1, ROOT[:31], ()),
        ("o", 0, ROOT, ()),
        ("o", 1, ROOT, ("",)),
    ):
        with pytest.raises(CheckpointError):
            Checkpoint(origin, size, root, extensions)


def test_a_checkpoint_of_another_log_or_without_the_logs_signature_is_refused() -> None:
    checkpoint = Checkpoint(ORIGIN, 5, ROOT)
    note = sign_checkpoint(checkpoint, LOG)
    with pytest.raises(CheckpointError, match=r"not of 'log\.example/other'"):
        open_checkpoint(note, "log.example/other", LOG.verifying_key)
    witnessed_only = sign_checkpoint(checkpoint, OTHER)
    with pytest.raises(NoteUnverified, match="did not sign"):
        open_checkpoint(witnessed_only, ORIGIN, LOG.verifying_key, [OTHER.verifying_key])
    with pytest.raises(CheckpointError):
        open_checkpoint(sign_note("just a text\n", LOG), ORIGIN, LOG.verifying_key)


@pytest.mark.parametrize(("vkey", "note"), [(SPEC_VKEY, SPEC_NOTE), (GO_VKEY, GO_NOTE)])
def test_the_published_examples_open(vkey: str, note: bytes) -> None:
    key = VerifyingKey.parse(vkey)
    assert key.vkey == vkey
    opened = open_note(note, [key, LOG.verifying_key])
    assert opened.signed_by(key)
    assert not opened.signed_by(LOG.verifying_key)
    assert parse_note(note).encode() == note


def test_the_specifications_checkpoint_is_read_and_written_the_same() -> None:
    note = parse_note(SPEC_CHECKPOINT)
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert note.encode() == SPEC_CHECKPOINT


def test_keys_survive_pem_and_show_no_secret() -> None:
    for password in (None, b"password"):
        again = SigningKey.from_pem(ORIGIN, LOG.to_pem(password), password)
        assert again.verifying_key == LOG.verifying_key
        assert again.sign(b"x") == LOG.sign(b"x")
    assert VerifyingKey.from_pem(ORIGIN, LOG.verifying_key.to_pem()) == LOG.verifying_key
    assert VerifyingKey.parse(LOG.verifying_key.vkey) == LOG.verifying_key
    assert "private" not in repr(LOG)


def test_a_cosigned_checkpoint_opens_with_both_keys_and_a_second_cosigning_adds_nothing() -> None:
    note = cosign_note(sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT, ("extension",)), LOG), OTHER)
    assert cosign_note(note, OTHER) == note
    opened = open_checkpoint(note, ORIGIN, LOG.verifying_key, [OTHER.verifying_key])
    assert opened.checkpoint == Checkpoint(ORIGIN, 0, EMPTY_ROOT, ("extension",))
    assert [s.name for s in opened.note.verified] == [LOG.name, OTHER.name]
    assert [s.name for s in open_checkpoint(note, ORIGIN, LOG.verifying_key).note.unknown] == [OTHER.name]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in range(32)]) | st.just("\n")))
def test_every_text_is_signed_and_opened_the_same(text: str) -> None:
    assert open_note(sign_note(text + "\n", LOG), [LOG.verifying_key]).text == text + "\n"


@given(st.binary(max_size=80) | st.text(st.sampled_from("a1\n— =+A"), max_size=80).map(str.encode))
def test_arbitrary_bytes_are_never_a_verified_note(data: bytes) -> None:
    with pytest.raises(NoteError):
        open_note(data, [LOG.verifying_key])
