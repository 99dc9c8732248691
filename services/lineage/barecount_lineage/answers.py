"""The shapes of lineage's answers, for /openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class LineageNode(BaseModel):
    """What stands at an edge's end. Each kind has members of its own: a dataset its facets, a run its facts."""

    model_config = ConfigDict(extra="allow")
    id: str
    kind: Literal["run", "dataset", "manifest", "contract"]


class LineageEdge(BaseModel):
    """In the direction in which data flows."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    kind: Literal["read", "wrote", "ran", "bound", "replayed"]
    at: datetime | None = None
    version: str | None = Field(default=None, description="Of the dataset that was read or written")
    rows: int | None = None


class LineageGraph(BaseModel):
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    truncated: bool = Field(description="More stands behind: ask from a node further on")


class InputColumn(BaseModel):
    dataset: str
    field: str
    transformations: Any = Field(description="OpenLineage's words: type, subtype, description, masking")


class ColumnLineage(BaseModel):
    dataset: str
    field: str
    run_id: str
    inputs: list[InputColumn]
    rows: list[InputColumn] = Field(description="What acts on every row, such as a filter")


class ColumnsLineage(BaseModel):
    items: list[ColumnLineage]
    next_cursor: str | None


class LineageEvents(BaseModel):
    items: list[dict[str, Any]] = Field(description="OpenLineage 2-0-2 RunEvents")
    next_cursor: str | None
