"""The public API as its own /openapi.json tells it: every operation, with real things of the story to ask it about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from barecount_cli.client import Client

RUN, PIPELINE = "rev_kpi_20251004_01-replay-1", "revenue-kpi"

# bodies that are understood and change nothing: what they name does not exist, or they are incomplete
BODIES: dict[str, Any] = {
    "/pipelines/replay": {"run_id": "{run_id}", "contract_version": "v3.2", "partition": "2025-10-04"},
    "/pipelines/{name}/runs": {"partition": "2025-10-04"},
    "/pipelines/{name}/promote": {"from": "dev", "to": "prod"},
    "/runs/{run_id}/cancel": {"reason": "to see who may"},
    "/pipelines": {},
    "/pipelines/{name}": {"name": "{name}"},
    "/contracts": {},
    "/publishers": {"name": "nobody", "public_key": "not a key", "roles": ["operator"]},
    "/webhooks": {"url": "ftp://nowhere"},
    "/webhooks/{endpoint_id}": {"description": "to see who may"},
    "/webhooks/{endpoint_id}/redeliver": {"event_id": "{event_id}"},
    "/subjects/{subject}/versions": {"schemaType": "JSON", "schema": "not a schema"},
    "/subjects/{subject}": {"schemaType": "JSON", "schema": "{}"},
    "/compatibility/subjects/{subject}/versions/{version}": {"schemaType": "JSON", "schema": "{}"},
    "/governance/decisions": {"request_id": "{request_id}", "decision": "reject", "reason": "to see who may", "plan_digest": "sha256:0"},
}

ENDLESS = ("/stream",)


@dataclass(frozen=True)
class Operation:
    """One operation of the document. `names` are the parameters that name a thing, wherever they stand."""

    method: str
    path: str
    action: str
    names: tuple[str, ...]
    queried: tuple[str, ...] = field(default=())

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    def call(self, http: httpx.Client, things: dict[str, Any], token: str | None, *, wait: bool = False) -> httpx.Response:
        """The operation asked about these things (parameter name -> value)."""
        path = self.path
        for name, value in things.items():
            path = path.replace("{" + name + "}", str(value))
        assert "{" not in path, f"{self}: tests/support/routes.py has no thing for this path"
        body = None if self.reads or self.path not in BODIES else {k: _filled(v, things) for k, v in BODIES[self.path].items()}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if wait and not self.reads:
            headers["Prefer"] = "wait=20"
        query = {name: things[name] for name in self.queried if name in things}
        if self.path in ENDLESS:
            # the head is the answer; what follows has no end
            with http.stream(self.method, path, params=query, headers=headers) as answer:
                if answer.status_code != 200:
                    answer.read()
                return answer
        return http.request(self.method, path, params=query, json=body, headers=headers)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """Every operation, in the document's order."""
    for path, item in document["paths"].items():
        for method, told in item.items():
            listed = [one for one in told.get("parameters", ()) if one.get("in") in ("path", "query")]
            queried = tuple(one["name"] for one in listed if one["in"] == "query")
            yield Operation(method.upper(), path, told["x-permission"], tuple(one["name"] for one in listed), queried)


def things_of_the_story(client: Client) -> dict[str, dict[str, Any]]:
    """Path prefix -> parameter name -> a thing that the client's tenant owns. The longest prefix of a path tells."""
    contract = next(item for item in client.items("/contracts") if "kpi" in item["name"])
    subject = sorted(contract["subjects"].values())[0]
    schema = client.get(f"/subjects/{subject}/versions/latest")
    record = next(client.items("/evidence", type="RunSucceeded", run_id=RUN))
    events = client.get(f"/lineage/runs/{RUN}/events")["items"]
    dataset = next(one for event in reversed(events) for one in event["outputs"])
    webhook = {"url": "https://hooks.example.com/walk", "event_types": ["run.cancelled"]}
    endpoint = client.write("POST", "/webhooks", webhook, key="the walk over the routes")["event"]["data"]["endpoint_id"]
    delivery = {"event_id": record["correlation"], "command_id": record["correlation"]}
    column = next(iter(client.get("/lineage/columns", dataset=dataset["name"])["items"]))["field"]
    run = {"run_id": RUN}
    return {
        "/pipelines": {"name": PIPELINE, **run},
        "/pipelines/replay": run,
        "/runs": run,
        "/dlq": run,
        "/slos": {"pipeline": PIPELINE},
        "/contracts": {"name": contract["name"], "version": contract["version"]},
        "/subjects": {"subject": subject, "version": "1", "subjectPrefix": subject},
        "/schemas": {"schema_id": schema["id"]},
        "/compatibility": {"subject": subject, "version": "latest"},
        "/governance": {"request_id": next(client.items("/governance/approvals"))["request_id"]},
        "/publishers": {"name": "ci"},
        "/webhooks": {"endpoint_id": endpoint, **delivery},
        "/commands": {"command_id": record["correlation"]},
        "/lineage": run,
        "/lineage/columns": {"dataset": dataset["name"], "column": column},
        "/evidence": run,
        "/evidence/records": {"index": record["index"]},
        "/evidence/proof": {"index": record["index"]},
        "/evidence/consistency": {"from": 1},
        "/tile": {"path": "0/000.p/1"},
    }


def of_path(things: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    fits = [prefix for prefix in things if path == prefix or path.startswith(prefix + "/")]
    return things[max(fits, key=len)] if fits else {}


def _filled(value: Any, things: dict[str, Any]) -> Any:
    return value.format(**things) if isinstance(value, str) and value.startswith("{") and value.endswith("}") and len(value) > 2 else value
