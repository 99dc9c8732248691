"""Which permission a route asks for. Every route has exactly one; a test, and create_app itself, walk them."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Final

from barecount_contracts.rules import permissions
from fastapi import Depends, FastAPI, Request, Security, WebSocket
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.routing import WebSocketRoute
from starlette.types import Scope

from .identity import Caller
from .problems import Problem, unauthenticated
from .scope import call_of

# only for the documentation of /openapi.json: calls.py has verified the token before any route runs
_BEARER: Final = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`barecount token` issues one locally")


class Permission:
    """The dependency behind `require`."""

    def __init__(self, action: str) -> None:
        if action not in permissions().actions:
            raise ValueError(f"contracts/permissions.yaml has no action {action!r}")
        self.action = action

    async def __call__(self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None) -> Caller:
        return self.check(request.scope)

    def check(self, scope: Scope) -> Caller:
        """Raises: Problem `unauthenticated` or `forbidden`."""
        call = call_of(scope)
        if call is None or call.caller is None:
            raise unauthenticated("the call carries no verified token")
        call.action = self.action
        if not call.caller.may(self.action):
            roles = ", ".join(sorted(call.caller.roles)) or "none"
            raise Problem("forbidden", f"this needs the permission {self.action}; your roles are: {roles}")
        return call.caller


class SocketPermission:
    """The dependency behind `require_socket`: asked before the WebSocket is accepted."""

    def __init__(self, action: str) -> None:
        self._permission = Permission(action)
        self.action = action

    async def __call__(self, websocket: WebSocket) -> Caller:
        return self._permission.check(websocket.scope)


def caller_of(request: Request) -> Caller:
    """Who calls, where a dependency of several routes asks, whatever permission each of them needs. Raises: Problem `unauthenticated`."""
    call = call_of(request.scope)
    if call is None or call.caller is None:
        raise unauthenticated("the call carries no verified token")
    return call.caller


def require(action: str) -> Any:
    """`caller: Annotated[Caller, require("runs:read")]`: the caller, if their role has the action.

    Raises, in a call: Problem `forbidden`. At import: ValueError when permissions.yaml has no such action.
    """
    return Depends(Permission(action))


def require_socket(action: str) -> Any:
    """The same for the route of a WebSocket."""
    return Depends(SocketPermission(action))


def routes_without_permission(app: FastAPI) -> list[str]:
    """`METHOD path` of every route that asks for no permission; health, metrics, openapi and the app's pages aside."""
    from .calls import EXEMPT, is_page

    pages = getattr(app.state, "pages", ())
    asked = ((route.split(" ", 1), action) for route, action in route_permissions(app).items())
    return sorted(
        f"{method} {path}"
        for (method, path), action in asked
        if action is None and path not in EXEMPT and not (method == "GET" and is_page(path, pages))
    )


def route_permissions(app: FastAPI) -> dict[str, str | None]:
    """`METHOD path` -> action, for every route of the app."""
    found: dict[str, str | None] = {}
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        action = _action(dependant) if isinstance(dependant, Dependant) else None
        # the route of a WebSocket has no methods; its handshake is a GET
        for method in sorted((route.methods or ({"GET"} if isinstance(route.original_route, WebSocketRoute) else {"*"})) - {"HEAD"}):
            found[f"{method} {route.path}"] = action
    return found


def routes_in_threads(app: FastAPI) -> list[str]:
    """`path` of every route that is not async itself or in a dependency: the framework would run that part in a thread.

    A thread for reading a header costs a request more than the rest of its way through the framework.
    """
    found = {route.path for route in iter_route_contexts(app.routes) if _blocks(getattr(route, "dependant", None))}
    return sorted(path for path in found if path is not None)


def _blocks(dependant: object) -> bool:
    if not isinstance(dependant, Dependant):
        return False
    call = dependant.call
    asynchronous = call is None or any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (call, getattr(call, "__call__", None))  # noqa: B004
    )
    return not asynchronous or any(_blocks(one) for one in dependant.dependencies)


def _action(dependant: Dependant) -> str | None:
    for one in dependant.dependencies:
        if isinstance(one.call, (Permission, SocketPermission)):
            return one.call.action
        nested = _action(one)
        if nested is not None:
            return nested
    return None
