"""Completeness, recomputed: are the ledger's records exactly the source logs, nothing added, left out, changed or swapped?

Needs the leaves and the raw source records, and believes neither service nor database. Inclusion and consistency are the tree's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from barecount_contracts import EvidenceRecord
from barecount_transparency import TransparencyError, chain, digest_bytes, extend, loads, parse_digest
from pydantic import ValidationError

from .batch import Covered, LedgerState, SourceGap, SourcePartition
from .ledger import COVERAGE_PREFIX, LedgerTampered, coverage_of


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction: the leaf that shows it (None: seen from the source's side) and what is wrong."""

    index: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Completeness:
    """What holds: every source partition up to `covered[…].next`, unless something was found."""

    leaves: int
    covered: Mapping[SourcePartition, Covered]
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        return not self.findings


def verify_completeness(
    leaves: Iterable[bytes], sources: Mapping[SourcePartition, Iterable[tuple[int, bytes]]], *, most_findings: int = 20
) -> Completeness:
    """Walks the leaves once, in order, beside the sources' (offset, value) records in order from their beginning.

    Only the sources given are compared with raw bytes; the chains of the others are recomputed from the leaves' digests alone.
    """
    raw = {source: iter(records) for source, records in sources.items()}
    state, opened, heads = LedgerState(), 0, dict[SourcePartition, Covered]()
    findings: list[Finding] = []
    index = -1
    for index, leaf in enumerate(leaves):
        if len(findings) >= most_findings:
            break
        opened += 1
        if not leaf.startswith(COVERAGE_PREFIX):
            findings += [Finding(index, what) for what in _record(leaf, state, heads, raw)]
            continue
        try:
            coverage = coverage_of(leaf)
            for item in coverage.ranges:
                source = (item.topic, item.partition)
                seen = heads.pop(source, state.of(source))
                if (item.count, item.chain) != (seen.count - state.of(source).count, seen.chain.hex()):
                    findings.append(Finding(index, f"{_name(source)}: the chain up to {item.next} does not follow from the leaves before"))
                if seen.next > item.next:
                    findings.append(Finding(index, f"{_name(source)}: a leaf lies beyond the covered end {item.next}"))
            state = state.after(opened, coverage)
        except (LedgerTampered, SourceGap) as error:
            findings.append(Finding(index, str(error)))
        findings += [Finding(index, f"{_name(source)}: leaves that no coverage leaf covers") for source in heads]
        heads.clear()
        opened = 0
    if len(findings) < most_findings:
        findings += list(_left_out(state, raw))
    return Completeness(index + 1, dict(state.covered), tuple(findings[:most_findings]))


def recomputed_chain(previous: bytes, values: Iterable[bytes]) -> bytes:
    """A source partition's chain from raw record values, as a coverage leaf must show it."""
    return chain(previous, values)


def _record(
    leaf: bytes, state: LedgerState, heads: dict[SourcePartition, Covered], raw: Mapping[SourcePartition, Iterator[tuple[int, bytes]]]
) -> Iterator[str]:
    try:
        record = EvidenceRecord.model_validate(loads(leaf))
        link = parse_digest(record.digest)
    except (TransparencyError, ValidationError) as error:
        yield f"the leaf is not an evidence record: {error}"
        return
    source, offset = (record.source.topic, record.source.partition), record.source.offset
    before = heads.get(source, state.of(source))
    if offset < before.next:
        yield f"{_name(source)}: offset {offset} is in the ledger twice or out of order"
    heads[source] = Covered(max(before.next, offset + 1), before.count + 1, extend(before.chain, link))
    if source in raw:
        found = next(raw[source], None)
        if found is None or found[0] != offset:
            yield f"{_name(source)}: the ledger goes on with offset {offset}, the source with {found[0] if found else 'its end'}"
        elif digest_bytes(found[1]) != record.digest:
            yield f"{_name(source)}: offset {offset} is not what was recorded: its bytes differ"


def _left_out(state: LedgerState, raw: Mapping[SourcePartition, Iterator[tuple[int, bytes]]]) -> Iterator[Finding]:
    for source, records in raw.items():
        found = next(records, None)
        if found is not None and found[0] < state.of(source).next:
            yield Finding(None, f"{_name(source)}: offset {found[0]} is said to be covered and has no leaf")


def _name(source: SourcePartition) -> str:
    return f"{source[0]}/{source[1]}"
