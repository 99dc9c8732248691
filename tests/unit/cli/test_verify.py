"""The verifier takes nobody's word: each way in which a ledger could lie is found with what the ledger itself publishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from barecount_cli.client import Client
from barecount_cli.settings import CliSettings
from barecount_cli.verify import EvidenceError, verify_chain, verify_ledger
from barecount_transparency import Checkpoint, SigningKey, Tree, canonical, leaf_hash, sign_checkpoint

ORIGIN, RUN, COMMAND = "test.local/ledger", "run_01-replay-1", "0e64b5c2-4d6d-5951-b6d7-86144e553799"
KEY, FOREIGN = SigningKey.from_seed(ORIGIN, bytes(32)), SigningKey.from_seed(ORIGIN, b"\x01" * 32)


def record(type_: str, correlation: str = COMMAND, **facts: Any) -> dict[str, Any]:
    return {
        "kind": "record",
        "type": type_,
        "tenant": "acme",
        "correlation": correlation,
        "facts": facts,
        "subject": {"kind": "run", "id": RUN},
    }


class Ledger:
    """A ledger that answers like the evidence service, and can be told to lie."""

    def __init__(self) -> None:
        self.key = KEY
        failed = record("RunFailed", "another-chain")
        call = record("ApiCalled") | {"command_id": COMMAND}
        proof = leaf_hash(canonical(failed)).hex()
        validated = record("ReplayValidated", **{"facts.leaf_index": 0, "facts.leaf_hash": proof})
        commit = {
            "publication.table": "tables/kpi",
            "publication.delta_version": 0,
            "publication.ticket": 3,
            "publication.files_digest": "sha256:aa",
        }
        self.records = [
            failed,
            call,
            validated,
            record("RunQueued", **{"plan.environment": "prod"}),
            record("DataPartitionPublished", **commit),
        ]
        self.shown: Callable[[int, bytes], bytes] = lambda index, leaf: leaf

    @property
    def leaves(self) -> list[bytes]:
        return [canonical(one) for one in self.records]

    @property
    def tree(self) -> Tree:
        return Tree(leaf_hash(leaf) for leaf in self.leaves)

    def note(self) -> str:
        return sign_checkpoint(Checkpoint(ORIGIN, self.tree.size, self.tree.root), self.key).decode()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        match path:
            case "/evidence/key":
                return {"origin": ORIGIN, "vkey": self.key.verifying_key.vkey}
            case "/evidence/consistency":
                return {"proof": [one.hex() for one in self.tree.consistency_proof(query["from"], query["to"])]}
            case "/evidence/chain":
                size = self.tree.size
                items = [
                    {
                        "index": n,
                        "leaf": self.shown(n, leaf).decode(),
                        "proof": [h.hex() for h in self.tree.inclusion_proof(n, size)],
                        "parent": None,
                    }
                    for n, leaf in enumerate(self.leaves)
                ]
                return {"checkpoint": {"note": self.note()}, "items": items}
        raise AssertionError(path)

    def text(self, path: str) -> str:
        assert path == "/checkpoint"
        return self.note()


@pytest.fixture
def settings(tmp_path: Path) -> CliSettings:
    (tmp_path / "data/keys").mkdir(parents=True)
    (tmp_path / "data/keys/ledger.public.pem").write_bytes(KEY.verifying_key.to_pem())
    return CliSettings(data_dir=tmp_path / "data", state_dir=tmp_path / "state")


def commit(settings: CliSettings, *, run_id: str = RUN, ticket: int = 3, digest: str = "sha256:aa") -> None:
    log = settings.data_dir / "lake/acme/prod/tables/kpi/_delta_log"
    log.mkdir(parents=True)
    info = {"commitInfo": {"barecount.run_id": run_id, "barecount.files_digest": digest}}
    lines = [json.dumps(one) for one in (info, {"txn": {"appId": "a", "version": ticket}})]
    (log / f"{0:020}.json").write_text("\n".join(lines))


def check(ledger: Ledger, settings: CliSettings) -> None:
    verify_chain(as_client(ledger), settings, RUN)


def as_client(ledger: Ledger) -> Client:
    client = Client("http://test", None)
    client.get = ledger.get  # type: ignore[method-assign]
    client.text = ledger.text  # type: ignore[method-assign]
    return client


def test_a_leaf_that_was_changed_is_not_in_the_tree(settings: CliSettings) -> None:
    ledger = Ledger()
    ledger.shown = lambda index, leaf: leaf.replace(b"RunFailed", b"RunSucceeded") if index == 0 else leaf
    with pytest.raises(EvidenceError, match="record 0 is not in the tree"):
        check(ledger, settings)


def test_a_checkpoint_of_another_key_is_not_believed(settings: CliSettings) -> None:
    ledger = Ledger()
    ledger.key = FOREIGN
    with pytest.raises(EvidenceError, match="does not verify"):
        check(ledger, settings)


def test_a_ledger_that_was_rolled_back_shows(settings: CliSettings) -> None:
    ledger = Ledger()
    list(verify_ledger(as_client(ledger), settings))
    ledger.records = [*ledger.records[:2], record("SomethingElse"), *ledger.records[3:], record("More")]
    with pytest.raises(EvidenceError, match="does not continue the one of 5 leaves"):
        list(verify_ledger(as_client(ledger), settings))


def test_a_ledger_that_lost_its_end_shows(settings: CliSettings) -> None:
    """Its shorter tree is consistent with what was seen; that something is missing shows by the size."""
    list(verify_ledger(as_client(Ledger()), settings))
    shorter = Ledger()
    shorter.records = shorter.records[:3]
    with pytest.raises(EvidenceError, match="shows 3 leaves, but this machine saw 5"):
        list(verify_ledger(as_client(shorter), settings))


def test_a_ledger_that_grew_is_pinned_anew(settings: CliSettings) -> None:
    ledger = Ledger()
    list(verify_ledger(as_client(ledger), settings))
    ledger.records.append(record("More"))
    list(verify_ledger(as_client(ledger), settings))
    [pin] = (settings.state_dir / "checkpoints").iterdir()
    assert json.loads(pin.read_text())["size"] == 6


def test_a_record_that_no_call_and_no_validation_explains_is_named(settings: CliSettings) -> None:
    ledger = Ledger()
    ledger.records.append(record("RunFailed", "a-third-chain"))
    with pytest.raises(EvidenceError, match=r"record 5 \(RunFailed\) follows from no recorded call"):
        check(ledger, settings)


def test_a_chain_without_its_http_call_does_not_hold(settings: CliSettings) -> None:
    ledger = Ledger()
    ledger.records[1] = record("Nothing")
    with pytest.raises(EvidenceError, match="no HTTP call"):
        check(ledger, settings)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"run_id": "other"}, "does not name run"), ({"ticket": 9}, "carries tickets"), ({"digest": "sha256:bb"}, "other files")],
)
def test_a_table_that_says_something_else_is_named(settings: CliSettings, changed: dict[str, Any], said: str) -> None:
    commit(settings, **changed)
    with pytest.raises(EvidenceError, match=said):
        check(Ledger(), settings)


def test_a_chain_that_holds_is_told_step_by_step(settings: CliSettings) -> None:
    commit(settings)
    steps, links = verify_chain(as_client(Ledger()), settings, RUN)
    assert [step.name for step in steps] == ["checkpoint", "continuity", "inclusion", "causes", "delta commit"]
    assert len(links) == 5
