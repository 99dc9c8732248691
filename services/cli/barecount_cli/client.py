"""The API over HTTP: bearer token, idempotency key, consistency token carried from each answer to the next question."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from .errors import CliError, ProblemError, WaitTimeoutError
from .settings import CliSettings
from .tokens import issue

ENDED = frozenset({"succeeded", "failed", "cancelled", "refused"})
RETRY_CODES = frozenset({"evidence-unavailable", "service-unavailable", "not-yet-projected"})


@dataclass
class Client:
    """One caller. `after` is the newest consistency token: what this client wrote, it reads.

    An answer 503 is safe to repeat: the idempotency key stays the same, so nothing happens twice.
    """

    address: str
    token: str | None
    after: str | None = None
    patience_seconds: float = 30.0
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.address, timeout=httpx.Timeout(40.0, connect=5.0), trust_env=False)

    @classmethod
    def of(cls, settings: CliSettings, *, role: str | None = None, tenant: str | None = None, user: str | None = None) -> Client:
        """A client for the settings' token, or for one that the embedded issuer signs now."""
        explicit = role is None and tenant is None and user is None
        token = settings.token if explicit and settings.token else None
        token = token or issue(settings.keys, user=user or settings.user, tenant=tenant or settings.tenant, role=role or settings.role)
        return cls(settings.address, token)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        # an empty mapping would take away the query that the path brings
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None} or None)

    def text(self, path: str) -> str:
        return self.send("GET", path).text

    def write(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, wait: float | None = 15, **headers: str
    ) -> dict[str, Any]:
        """Sends a command and, unless `wait` is None, waits for its admission: `event` is missing when it was not known in all that time.

        Raises: ProblemError when it is refused.
        """
        headers["Idempotency-Key"] = key or str(uuid.uuid4())
        if wait is None:
            return self._call(method, path, json=body, headers=headers)
        headers["Prefer"] = f"wait={int(wait)}"
        deadline, pause = time.monotonic() + self.patience_seconds, 0.1
        while True:
            answer = self._call(method, path, json=body, headers=headers)
            if answer.get("status") != "accepted" or time.monotonic() > deadline:
                return answer
            time.sleep(pause)  # answered at once while the read model is away: under the same key it is the same command
            pause = min(pause * 2, 1.0)

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call, repeated while the answer says that repeating is safe."""
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        deadline, pause = time.monotonic() + self.patience_seconds, 0.1
        while True:
            if self.after and method == "GET":
                headers["X-Consistency-Token"] = self.after
            try:
                answer = self.http.request(method, path, headers=headers, **options)
                problem = None if answer.status_code < 400 else _problem(answer)
                if problem is None:
                    self.after = answer.headers.get("X-Consistency-Token") or self.after
                    return answer
            except httpx.TransportError as error:
                problem = ProblemError({"code": "service-unavailable", "detail": f"{self.address} does not answer: {error}"}, 503)
                problem.remedy = "Start the stack with `barecount up`, or name its address by BARECOUNT_URL."
            if problem.code not in RETRY_CODES or time.monotonic() > deadline:
                raise problem
            time.sleep(pause)  # back-off between repeats of a call that was answered 503
            pause = min(pause * 2, 1.0)

    def follow_run(self, run_id: str, *, timeout: float = 120.0) -> Iterator[dict[str, Any]]:
        """The run, each time it changed, until it has ended.

        Raises: WaitTimeoutError.
        """
        deadline, seen = time.monotonic() + timeout, None
        while True:
            run = self.get(f"/runs/{run_id}")
            state = (run["status"], str(run.get("stages")))
            if state != seen:
                seen = state
                yield run
            if run["status"] in ENDED:
                return
            if time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"run {run_id} is still {run['status']} after {timeout:.0f} s", f"Follow on with `barecount runs {run_id} --follow`."
                )
            time.sleep(0.1)  # the API has no stream yet: ask again

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self.send(method, path, **options)
        try:
            body = answer.json()
        except ValueError as error:
            raise CliError(f"{method} {path} did not answer JSON: {answer.text[:200]!r}") from error
        return body if isinstance(body, dict) else {"items": body}


def _problem(answer: httpx.Response) -> ProblemError:
    try:
        document = answer.json()
    except ValueError:
        document = {"detail": answer.text[:300]}
    return ProblemError(document if isinstance(document, dict) else {"detail": str(document)}, answer.status_code)
