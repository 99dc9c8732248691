"""`barecount dashboard`: the address of the dashboard that signs in by itself.

The token stands in the fragment, which a browser sends to no server; the page moves it out of the address at once.
"""

from __future__ import annotations

import webbrowser
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from . import output
from .settings import CliSettings
from .tokens import issue

PATH = "/ui/"


def link(address: str, token: str, run_id: str | None = None) -> str:
    """Where a browser signs in with this token, and shows this run or the list of runs."""
    to = f"/runs/{quote(run_id, safe='')}" if run_id else "/runs"
    return f"{address}{PATH}#{urlencode({'token': token, 'to': to})}"


def dashboard(
    run_id: Annotated[str | None, typer.Argument(help="Show this run")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser of this machine, too")] = False,
    role: Annotated[str | None, typer.Option("--role", help="Look with this role; several with commas (embedded issuer)")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Look at this tenant (embedded issuer)")] = None,
    user: Annotated[str | None, typer.Option(help="Who the token names: nobody decides their own request")] = None,
    ttl: Annotated[int, typer.Option(help="Seconds until the token expires")] = 3600,
) -> None:
    """Print the dashboard's address with a fresh token: treat it as a password."""
    settings = CliSettings()
    explicit = role is None and tenant is None and user is None
    token = settings.token if explicit and settings.token else None
    token = token or issue(
        settings.keys, user=user or settings.user, tenant=tenant or settings.tenant, role=role or settings.role, ttl_seconds=ttl
    )
    address = link(settings.address, token, run_id)
    # plain, on one line: a table or a wrapped line could not be clicked or piped
    typer.echo(address)
    if open_ and not webbrowser.open(address):
        output.errors.print("no browser could be opened here; copy the address", highlight=False)
