"""People who look at the dashboard: each a browser context of its own with their role's token."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from barecount_cli.dashboard import link
from barecount_cli.tokens import issue
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.stack import Stack

# a run of the sample takes seconds; a loaded machine several times that
PATIENT_MS = 60_000
expect.set_options(timeout=20_000)


@dataclass
class Looker:
    """`elsewhere`: requests to other origins; `failures`: exceptions in pages. Both stay empty."""

    browser: Browser
    product: Stack
    contexts: list[BrowserContext] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.product.port}"

    def page(self, *, width: int = 1280) -> Page:
        """A page of nobody yet."""
        context = self.browser.new_context(viewport={"width": width, "height": 900})
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        return page

    def as_(self, role: str, user: str | None = None, *, to: str = "/runs", width: int = 1280) -> Page:
        """A page of this person, signed in by the link that `barecount dashboard` prints."""
        return self.open(self.page(width=width), role, user, to=to)

    def open(self, page: Page, role: str, user: str | None = None, *, to: str = "/runs") -> Page:
        token = issue(self.product.settings.keys, user=user or f"{role}@acme", tenant="acme", role=role)
        page.goto(link(self.origin, token))
        page.wait_for_selector("#main .head")
        if to != "/runs":
            page.evaluate("to => { location.hash = to }", to)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.elsewhere.append(url)
