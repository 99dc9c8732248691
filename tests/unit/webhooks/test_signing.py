"""Signatures as Standard Webhooks publishes them, and secrets that no log holds."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from barecount_webhooks.domain.signing import headers, secret_of, shown, signature
from standardwebhooks.webhooks import Webhook

pytestmark = pytest.mark.unit

MASTER = bytes(range(32))


def test_the_specifications_vector() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_official_library_verifies_with_either_secret_while_rotating() -> None:
    old, new = (secret_of(MASTER, "acme", "wh_1", version) for version in (1, 2))
    sent = headers([new, old], "8d0f", datetime.now(UTC), b'{"type":"run.failed"}')
    for secret in (old, new):
        assert Webhook(shown(secret)).verify('{"type":"run.failed"}', sent) == {"type": "run.failed"}


def test_secrets_differ_by_tenant_endpoint_version_and_master() -> None:
    given = [(MASTER, "acme", "wh_1", 1), (MASTER, "globex", "wh_1", 1), (MASTER, "acme", "wh_2", 1), (MASTER, "acme", "wh_1", 2)]
    found = {secret_of(*one) for one in (*given, (bytes(32), "acme", "wh_1", 1))}
    assert len(found) == 5
    assert {len(one) for one in found} == {32}


def test_a_secret_never_changes_by_a_release() -> None:
    # receivers hold it: another derivation would void every endpoint
    assert shown(secret_of(MASTER, "acme", "wh_1", 1)) == "whsec_HXozEyTA5GiIZie69ZrqCpJV1IYodZ+LSWBUIheY2Dw="
