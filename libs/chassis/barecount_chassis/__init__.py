"""The frame of a service: settings, identity, permission, problems, telemetry, health, readers, ASGI.

Errors: `Problem` (an answer over HTTP), `SettingsError` (the environment), `ReaderError` (a reader cannot start or go on) and
`PermanentError` (a policy's own word about a record). Nothing else is raised on purpose.
"""

from . import telemetry
from .asgi import create_app, openapi
from .bus import Appends, CommandBus, Submitted
from .calls import streams
from .collector import settle as settle_collector
from .health import Health
from .identity import Caller, Identity, JwksKeys, PemKey, issue_token, pseudonym
from .keyring import Keyring, Refusal, create_keypair, service_principal
from .permission import Permission, caller_of, require, require_socket, route_permissions, routes_without_permission
from .preferences import ConsistencyToken, IdempotencyKey, PreferWait, prefer_wait
from .problems import Problem, outcome_pending
from .proving import ProvingProcess
from .reader import PermanentError, Policy
from .record import Record
from .scope import Call, current_call
from .serve import serve
from .settings import Settings, SettingsError
from .tail import ReaderError, Tail, require_topics, tail_partition
from .targets import PrivateTargets, Target, TargetError
from .versions import NOT_MODIFIED, TOLD, AsOf, IfNoneMatch, versioned

__all__ = [
    "NOT_MODIFIED",
    "TOLD",
    "Appends",
    "AsOf",
    "Call",
    "Caller",
    "CommandBus",
    "ConsistencyToken",
    "Health",
    "IdempotencyKey",
    "Identity",
    "IfNoneMatch",
    "JwksKeys",
    "Keyring",
    "PemKey",
    "PermanentError",
    "Permission",
    "Policy",
    "PreferWait",
    "PrivateTargets",
    "Problem",
    "ProvingProcess",
    "ReaderError",
    "Record",
    "Refusal",
    "Settings",
    "SettingsError",
    "Submitted",
    "Tail",
    "Target",
    "TargetError",
    "caller_of",
    "create_app",
    "create_keypair",
    "current_call",
    "issue_token",
    "openapi",
    "outcome_pending",
    "prefer_wait",
    "pseudonym",
    "require",
    "require_socket",
    "require_topics",
    "route_permissions",
    "routes_without_permission",
    "serve",
    "service_principal",
    "settle_collector",
    "streams",
    "tail_partition",
    "telemetry",
    "versioned",
]
