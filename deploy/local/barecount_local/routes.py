"""Which service answers which path: the one table that the edge's configuration is generated from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from barecount_chassis.problems import TYPES
from barecount_contracts.rules import problem_type

from .ports import HOST

MAX_BODY = "2MB"
WRITES = ("POST", "PUT", "DELETE")
READS = ("GET", "HEAD")


@dataclass(frozen=True)
class Route:
    """Requests of these methods (none named: of any) to one of these paths, or to anything below it, go to the service."""

    service: str
    paths: tuple[str, ...]
    methods: tuple[str, ...] = ()


# the first that fits wins
ROUTES = (
    Route("command", ("/pipelines", "/runs", "/governance", "/dlq"), WRITES),
    Route("command", ("/pipelines", "/governance", "/commands", "/contracts")),
    # a star stands for one segment: deliveries are /<event> or, of a redelivery, /<event>/<command>
    Route("webhooks", ("/webhooks/*/deliveries", "/webhooks/*/deliveries/*", "/webhooks/*/secret", "/webhooks/*/health"), READS),
    Route("command", ("/webhooks", "/publishers")),
    # the registry's own paths, as Confluent's clients ask for them
    Route("command", ("/subjects", "/schemas", "/config", "/compatibility", "/mode")),
    Route("execution", ("/runs", "/slos", "/dlq", "/workers"), READS),
    Route("lineage", ("/lineage",)),
    Route("evidence", ("/evidence", "/tile", "/checkpoint")),
    Route("streams", ("/stream", "/ws"), READS),
    # the dashboard
    Route("streams", ("/", "/ui"), READS),
)
DOCUMENTS = ("/openapi.json", "/asyncapi.json")


def caddyfile(
    port: int, upstreams: Mapping[str, int | str], documents: Path, *, bind: str = HOST, hosts: Sequence[str] = (HOST, "localhost")
) -> str:
    """The edge's configuration. upstreams: service → its port on 127.0.0.1, or host:port; documents: the folder of DOCUMENTS.

    hosts: the names it answers to, which keeps pages of other sites from reaching it by a name of theirs (DNS rebinding).
    """
    blocks = ['@health path /health\nhandle @health {\n\trespond "ok" 200\n}']
    blocks += [_static(number, path, documents) for number, path in enumerate(DOCUMENTS)]
    blocks += [_proxy(number, route, upstreams[route.service]) for number, route in enumerate(ROUTES)]
    missing = _problem("not-found", "no service answers this path: see /openapi.json for those that are answered")
    dead = _problem("service-unavailable", "the service behind this path does not answer now")
    refused = _problem("method-not-allowed", "the documents are only read: use GET")
    large = _problem("payload-too-large", f"the edge takes bodies of up to {MAX_BODY}")
    blocks.append(f"handle {{\n{_indent(missing)}\n}}")
    inside = "\n".join(blocks)
    return (
        "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\tlevel WARN\n\t}\n}\n"
        f"{', '.join(f'http://{host}:{port}' for host in hosts)} {{\n"
        f"\tbind {bind}\n"
        f"\trequest_body {{\n\t\tmax_size {MAX_BODY}\n\t}}\n"
        f"\troute {{\n{_indent(inside, 2)}\n\t}}\n"
        "\thandle_errors 413 {\n" + _indent(large, 2) + "\n\t}\n"
        "\thandle_errors 405 {\n" + _indent(refused, 2) + "\n\t}\n"
        "\thandle_errors 404 {\n" + _indent(missing, 2) + "\n\t}\n"
        "\thandle_errors {\n\t\theader Retry-After 1\n" + _indent(dead, 2) + "\n\t}\n"
        "}\n"
    )


def _proxy(number: int, route: Route, upstream: int | str) -> str:
    place = upstream if isinstance(upstream, str) else f"{HOST}:{upstream}"
    # the root has no paths below it that are its own
    paths = " ".join(path if path == "/" else f"{path} {path}/*" for path in route.paths)
    methods = f"\n\tmethod {' '.join(route.methods)}" if route.methods else ""
    # flush at once: answers may be streams
    return (
        f"@route{number} {{\n\tpath {paths}{methods}\n}}\n"
        f"handle @route{number} {{\n\treverse_proxy {place} {{\n\t\tflush_interval -1\n\t}}\n}}"
    )


def _static(number: int, path: str, documents: Path) -> str:
    return (
        f"@document{number} path {path}\n"
        f'handle @document{number} {{\n\troot * "{documents}"\n\theader Content-Type application/json\n\tfile_server\n}}'
    )


def _problem(code: str, detail: str) -> str:
    # RFC 9457 with the members that the services answer; Caddy puts the call's id in
    kind = problem_type(code)
    body = {
        "type": TYPES + code,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": "urn:uuid:{http.request.uuid}",
        "code": code,
        "remedy": kind.remedy,
    }
    text = json.dumps(body)
    return f"header Content-Type application/problem+json\nrespond <<JSON\n\t{text}\n\tJSON {kind.status}"


def _indent(text: str, by: int = 1) -> str:
    return "\n".join("\t" * by + line for line in text.splitlines())
