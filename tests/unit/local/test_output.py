"""What `barecount status` shows at a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_local import output


@pytest.mark.unit
@pytest.mark.parametrize(("free", "said"), [(12 * 2**20, True), (2**40, False)])
def test_a_disk_that_is_nearly_full_is_said_before_the_servers_stop(capsys: pytest.CaptureFixture[str], free: int, said: bool) -> None:
    found: dict[str, Any] = {"state": "ready", "url": "http://h", "data_dir": "/d", "processes": [], "pss_bytes": 0, "free_bytes": free}
    output.show(found)
    assert ("only 12 MiB are left on the disk of /d: make room" in capsys.readouterr().out) == said
