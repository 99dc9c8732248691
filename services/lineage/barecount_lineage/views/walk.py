"""The walk over the graph: from a run or a dataset upstream or downstream, hop by hop, with bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from barecount_readmodel import Connection

from . import graph, manifests

Direction = Literal["upstream", "downstream", "both"]

MOST_NODES = 500
FAN_OUT = 50


class Walk:
    """Collects nodes and directed edges (in the direction in which data flows). A hop is a run with what it read or wrote."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.truncated = False

    async def from_run(self, run_id: str, direction: Direction, depth: int) -> bool:
        """False when there is no such run."""
        if not await self._run(run_id):
            return False
        if direction != "downstream":
            await self._upstream_of_run(run_id, depth)
        if direction != "upstream":
            await self._downstream_of_run(run_id, depth)
        return True

    async def from_dataset(self, dataset: str, direction: Direction, depth: int) -> bool:
        """False when there is no such dataset."""
        if not await self._dataset(dataset):
            return False
        if direction != "downstream":
            await self._upstream_of(dataset, None, depth)
        if direction != "upstream":
            await self._downstream_of(dataset, None, depth)
        return True

    async def _upstream_of(self, dataset: str, before: datetime | None, depth: int) -> None:
        """The run that made the dataset what it is, or what it was when it was read."""
        made = await graph.writer_of(self._conn, dataset, before) if depth > 0 else None
        if made is None or not await self._run(made["run_id"]):
            return
        fresh = self._edge(_run_node(made["run_id"]), _node(dataset), "wrote", made)
        if fresh:
            await self._upstream_of_run(made["run_id"], depth)

    async def _upstream_of_run(self, run_id: str, depth: int) -> None:
        for read in await graph.reads(self._conn, run_id):
            if await self._dataset(read["dataset"]) and self._edge(_node(read["dataset"]), _run_node(run_id), "read", read):
                await self._upstream_of(read["dataset"], read["at"], depth - 1)

    async def _downstream_of(self, dataset: str, after: datetime | None, depth: int) -> None:
        if depth <= 0:
            return
        found = await graph.readers_of(self._conn, dataset, after, FAN_OUT + 1)
        self.truncated |= len(found) > FAN_OUT
        for read in found[:FAN_OUT]:
            if await self._run(read["run_id"]) and self._edge(_node(dataset), _run_node(read["run_id"]), "read", read):
                await self._downstream_of_run(read["run_id"], depth)

    async def _downstream_of_run(self, run_id: str, depth: int) -> None:
        for write in await graph.writes(self._conn, run_id):
            if await self._dataset(write["dataset"]) and self._edge(_run_node(run_id), _node(write["dataset"]), "wrote", write):
                await self._downstream_of(write["dataset"], write["at"], depth - 1)

    async def _run(self, run_id: str) -> bool:
        """The run as a node, with the manifest version and the contract that it ran under."""
        node = _run_node(run_id)
        if node in self.nodes:
            return True
        run = await graph.run(self._conn, run_id)
        if run is None or self._full():
            return False
        facts = run["facts"]
        pipeline, version = run["pipeline"], facts["manifestVersion"]
        self.nodes[node] = {"id": node, "kind": "run", **run}
        manifest = f"manifest:{pipeline}@{version}"
        if manifest not in self.nodes:
            told = await manifests.manifest(self._conn, pipeline, version)
            ran = {"pipeline": pipeline, "version": version, "digest": facts["manifestDigest"]}
            self.nodes[manifest] = {"id": manifest, "kind": "manifest", **ran, "registered": told or None}
        self._edge(manifest, node, "ran", {})
        contract = f"contract:{facts['contract']['name']}@{facts['contract']['version']}"
        if contract not in self.nodes:
            told = await manifests.contract(self._conn, facts["contract"]["name"], facts["contract"]["version"])
            self.nodes[contract] = {"id": contract, "kind": "contract", **facts["contract"], "registered": told or None}
        self._edge(contract, node, "bound", {})
        if facts.get("rerunOf") and await self._run(facts["rerunOf"]):
            self._edge(_run_node(facts["rerunOf"]), node, "replayed", {})
        return True

    async def _dataset(self, name: str) -> bool:
        node = _node(name)
        if node in self.nodes:
            return True
        dataset = await graph.dataset(self._conn, name)
        if dataset is None or self._full():
            return False
        facets = dataset["facets"]
        self.nodes[node] = {
            "id": node, "kind": "dataset", "dataset": name, "name": name.split(":", 1)[1],
            "type": facets.get("datasetType", {}).get("datasetType"), "table": dataset["table"], "facets": facets,
        }  # fmt: skip
        return True

    def _full(self) -> bool:
        self.truncated |= len(self.nodes) >= MOST_NODES
        return len(self.nodes) >= MOST_NODES

    def _edge(self, source: str, target: str, kind: str, seen: dict[str, Any]) -> bool:
        """Whether the edge is new: a walk goes over each one once."""
        if (source, target, kind) in self.edges:
            return False
        told = {name: seen[name] for name in ("version", "rows") if seen.get(name) is not None}
        if "at" in seen:
            told["at"] = seen["at"].isoformat()
        self.edges[source, target, kind] = {"from": source, "to": target, "kind": kind, **told}
        return True


def _run_node(run_id: str) -> str:
    return f"run:{run_id}"


def _node(dataset: str) -> str:
    return f"dataset:{dataset}"
