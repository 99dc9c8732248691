"""The sample's manifest and contracts, as lineage tests need them."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def _sample(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((files("barecount_local") / "sample" / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


MANIFEST = _sample("revenue-kpi.yaml")
CONTRACTS = [_sample("retail-transactions.odcs.yaml"), _sample("revenue-kpi.odcs.yaml")]
