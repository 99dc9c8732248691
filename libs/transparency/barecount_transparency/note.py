"""Signed notes: text, a blank line, and one line a signature. Source: c2sp.org/signed-note v1.0.0.

A note's text means nothing until `open_note` has verified it; `parse_note` is for those who only carry notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from . import base64s
from .errors import NoteError, NoteUnverified
from .keys import SigningKey, VerifyingKey, is_key_name

__all__ = ["MAX_SIGNATURES", "Note", "OpenedNote", "Signature", "cosign_note", "open_note", "parse_note", "sign_note"]

MAX_SIGNATURES = 100
"""The specification asks for at least 16; Go's x/mod stops at 100 too."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_LINE = "— "  # U+2014 and a space


@dataclass(frozen=True)
class Signature:
    """One signature line: key name, 4-byte key id, and the signature's bytes (64 for Ed25519)."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """As it stands in a note, newline included."""
        return f"{_LINE}{self.name} {base64s.encode(self.key_id + self.value)}\n"


@dataclass(frozen=True)
class Note:
    """A well-formed note, nothing verified. `text` ends with a newline."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(s.line() for s in self.signatures)).encode("utf-8")


@dataclass(frozen=True)
class OpenedNote:
    """A note that at least one known key signed. `verified` in the note's order, one a key; `unknown` are signatures of other keys."""

    text: str
    verified: tuple[Signature, ...]
    unknown: tuple[Signature, ...]

    def signed_by(self, key: VerifyingKey) -> bool:
        """Whether this key's signature was verified."""
        return any((s.name, s.key_id) == (key.name, key.key_id) for s in self.verified)


def sign_note(text: str, *keys: SigningKey) -> bytes:
    """Sign a text that ends with a newline. Raises `NoteError`."""
    _check_text(text)
    if not 1 <= len(keys) <= MAX_SIGNATURES:
        raise NoteError(f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(keys)}")
    return Note(text, tuple(_signature(text, key) for key in keys)).encode()


def cosign_note(note: bytes, *keys: SigningKey) -> bytes:
    """Append plain Ed25519 signatures to a note that the caller has verified; replaces a key's own earlier line. Raises `NoteError`."""
    parsed = parse_note(note)
    ours = {(key.name, key.verifying_key.key_id) for key in keys}
    kept = tuple(s for s in parsed.signatures if (s.name, s.key_id) not in ours)
    if len(kept) + len(keys) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(parsed.text, kept + tuple(_signature(parsed.text, key) for key in keys)).encode()


def parse_note(data: bytes) -> Note:
    """Split a note into text and signatures without verifying any. Raises `NoteError`."""
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise NoteError(f"the note is not UTF-8 at byte {cause.start}") from cause
    if found := _CONTROL.search(whole):
        raise NoteError(f"the note holds the control character {found.group()!r} at {found.start()}")
    split = whole.rfind("\n\n")
    if split < 0:
        raise NoteError("the note has no blank line before its signatures")
    text, block = whole[: split + 1], whole[split + 2 :]
    if not block.endswith("\n"):
        raise NoteError("the note does not end with a signature line and a newline")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has {len(lines)} signatures, more than {MAX_SIGNATURES}")
    return Note(text, tuple(_parse_line(line) for line in lines))


def open_note(data: bytes, keys: Iterable[VerifyingKey]) -> OpenedNote:
    """Verify a note against the known keys: each one's signature must hold, and one must be there.

    Raises `NoteError` when malformed, `NoteUnverified` when a known key's signature is wrong or no known key signed.
    """
    note = parse_note(data)
    known: dict[tuple[str, bytes], VerifyingKey] = {}
    for key in keys:
        other = known.setdefault((key.name, key.key_id), key)
        if other != key:
            raise NoteError(f"two known keys share the name {key.name!r} and the id {key.key_id.hex()}: rename one")
    message = note.text.encode("utf-8")
    verified: dict[tuple[str, bytes], Signature] = {}
    unknown: list[Signature] = []
    for signature in note.signatures:
        identity = (signature.name, signature.key_id)
        verifier = known.get(identity)
        if verifier is None:
            unknown.append(signature)
        elif not verifier.verifies(message, signature.value):
            raise NoteUnverified(f"the signature of {signature.name!r} (key {signature.key_id.hex()}) is wrong: reject the note")
        else:
            verified.setdefault(identity, signature)
    if not verified:
        signers = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in unknown[:5])
        raise NoteUnverified(f"no known key signed the note; its signers are {signers}: configure the right vkey")
    return OpenedNote(note.text, tuple(verified.values()), tuple(unknown))


def _signature(text: str, key: SigningKey) -> Signature:
    return Signature(key.name, key.verifying_key.key_id, key.sign(text.encode("utf-8")))


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("a note's text ends with a newline")
    if found := _CONTROL.search(text):
        raise NoteError(f"a note's text must not hold the control character {found.group()!r}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as cause:
        raise NoteError("a note's text must not hold lone surrogates") from cause


def _parse_line(line: str) -> Signature:
    parts = line.removeprefix(_LINE).split(" ") if line.startswith(_LINE) else []
    raw = base64s.decode(parts[1]) if len(parts) == 2 else None
    if raw is None or len(raw) < 5 or not is_key_name(parts[0]):
        raise NoteError(f"not a signature line: {line[:80]!r}; expected an em dash, the key name and base64")
    return Signature(parts[0], raw[:4], raw[4:])
