"""Which input column every output column comes from, through all stages of a manifest, in OpenLineage's words.

DIRECT: IDENTITY (copied), TRANSFORMATION (computed from), AGGREGATION (aggregated). INDIRECT (decides about rows or values without
being in them): FILTER, JOIN, GROUP_BY, SORT, WINDOW, CONDITIONAL. Row-wide influences are listed once for the dataset, as the spec's
columnLineage facet 1-2-0 allows; copying them into every column would be nearly cartesian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from .model import Manifest
from .sql import DIALECT

_STRENGTH = {"IDENTITY": 0, "TRANSFORMATION": 1, "AGGREGATION": 2}
_CLAUSES: tuple[tuple[str, str], ...] = (
    ("where", "FILTER"), ("having", "FILTER"), ("qualify", "FILTER"), ("group", "GROUP_BY"), ("order", "SORT"), ("distinct", "GROUP_BY"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class InputColumn:
    """A source's column and how it acts on an output: `transformation` DIRECT or INDIRECT, `subtype` as above."""

    source: str
    column: str
    transformation: str
    subtype: str


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """Of one dataset: inputs per output column, and the inputs that act on all its rows."""

    columns: Mapping[str, tuple[InputColumn, ...]]
    dataset: tuple[InputColumn, ...]


def column_lineage(manifest: Manifest, schemas: Mapping[str, Mapping[str, str]]) -> dict[str, ColumnLineage]:
    """Lineage of every sink: sink name -> ColumnLineage back to the manifest's sources.

    `schemas` gives each source's columns and types, {"transactions": {"store_id": "BIGINT", …}} (`fields_of` has them).
    Raises KeyError for a source without schema and sqlglot's SqlglotError for a column that does not exist.
    """
    known: dict[str, ColumnLineage] = {}
    columns: dict[str, dict[str, str]] = {}
    sinks: dict[str, ColumnLineage] = {}
    for stage in manifest.stages:
        match stage.kind:
            case "read":
                columns[stage.output] = dict(schemas[stage.source])
                identity = {name: (InputColumn(stage.source, name, "DIRECT", "IDENTITY"),) for name in columns[stage.output]}
                known[stage.output] = ColumnLineage(identity, ())
            case "sql":
                known[stage.output] = _through(stage.sql, {name: columns[name] for name in stage.inputs}, known)
                columns[stage.output] = dict.fromkeys(known[stage.output].columns, "UNKNOWN")
            case "publish":
                sinks[stage.sink] = known[stage.input]
            case "check":
                pass
    return sinks


def _through(sql: str, schema: dict[str, object], known: Mapping[str, ColumnLineage]) -> ColumnLineage:
    query = qualify(sqlglot.parse_one(sql, read=DIALECT), schema=schema, dialect=DIALECT, validate_qualify_columns=True)
    scope = build_scope(query)
    if scope is None:  # a query always has one; the type says otherwise
        return ColumnLineage({}, ())
    outputs = {name: _compose(_output(scope, index, "IDENTITY"), known) for index, name in enumerate(_query(scope).named_selects)}
    whole = _compose(_row_wide(scope), known) | {item for used in schema for item in known[used].dataset}
    return ColumnLineage({name: tuple(sorted(found)) for name, found in outputs.items()}, tuple(sorted(whole)))


_Leaf = tuple[str, str, str, str]
"""(dataset, column, transformation, subtype)"""


def _compose(found: Iterator[_Leaf], known: Mapping[str, ColumnLineage]) -> set[InputColumn]:
    """Leaves of one query (dataset, column, transformation, subtype) followed to the sources."""
    inputs: set[InputColumn] = set()
    for dataset, column, transformation, subtype in found:
        for origin in known[dataset].columns.get(column, ()):
            if origin.transformation == "INDIRECT" and transformation == "DIRECT":
                inputs.add(origin)
            elif transformation == "INDIRECT":
                inputs.add(InputColumn(origin.source, origin.column, "INDIRECT", subtype))
            else:
                stronger = max(origin.subtype, subtype, key=lambda name: _STRENGTH[name])
                inputs.add(InputColumn(origin.source, origin.column, "DIRECT", stronger))
    return inputs


def _output(scope: Scope, index: int, subtype: str) -> Iterator[_Leaf]:
    """Leaves of the projection at `index`; UNION matches its branches by position, UNION BY NAME by name."""
    query = _query(scope)
    if not scope.set_operation_scopes:
        if index < len(query.selects):
            yield from _expression(scope, query.selects[index], subtype)
        return
    for branch in scope.set_operation_scopes:
        names = _query(branch).named_selects
        if not query.args.get("by_name"):
            yield from _output(branch, index, subtype)
        elif (name := query.named_selects[index]) in names:
            yield from _output(branch, names.index(name), subtype)


def _query(scope: Scope) -> exp.Query:
    """A scope's expression; every scope that has columns is a query."""
    return cast(exp.Query, scope.expression)


def _expression(scope: Scope, node: exp.Expr, subtype: str) -> Iterator[_Leaf]:
    inner = node.unalias()
    if isinstance(inner, exp.Paren):
        yield from _expression(scope, inner.this, subtype)
        return
    if isinstance(inner, exp.Column):
        yield from _column(scope, inner, "DIRECT", subtype)
        return
    for column in inner.find_all(exp.Column):
        role = _role(column, inner)
        own = "TRANSFORMATION" if role == "VALUE" else role
        if role in {"VALUE", "AGGREGATION"}:
            yield from _column(scope, column, "DIRECT", max(subtype, own, key=lambda name: _STRENGTH[name]))
        else:
            yield from _column(scope, column, "INDIRECT", role)


def _role(column: exp.Column, root: exp.Expr) -> str:
    """What a column does inside an expression: VALUE, AGGREGATION, CONDITIONAL, WINDOW or FILTER."""
    role, child = "VALUE", column
    node: exp.Expr | None = column.parent
    while node is not None:
        if isinstance(node, exp.If) and node.this is child:
            return "CONDITIONAL"
        if isinstance(node, exp.Case) and node.this is child:
            return "CONDITIONAL"
        if isinstance(node, exp.Filter) and node.expression is child:
            return "FILTER"
        if isinstance(node, exp.Window) and child is not node.this:
            return "WINDOW"
        if isinstance(node, exp.AggFunc):
            role = "AGGREGATION"
        if node is root:
            break
        child, node = node, node.parent  # type: ignore[assignment]
    return role


def _column(scope: Scope, column: exp.Column, transformation: str, subtype: str) -> Iterator[_Leaf]:
    source = _source(scope, column.table)
    if isinstance(source, exp.Table):
        yield source.name, column.name, transformation, subtype
    elif isinstance(source, Scope) and column.name in (names := _query(source).named_selects):
        direct = subtype if transformation == "DIRECT" else "IDENTITY"
        for dataset, name, kind, inner in _output(source, names.index(column.name), direct):
            yield (dataset, name, kind, inner) if transformation == "DIRECT" else (dataset, name, "INDIRECT", subtype)


def _source(scope: Scope | None, name: str) -> exp.Expr | Scope | None:
    """A correlated subquery may name a table of a query around it."""
    while scope is not None:
        if name in scope.sources:
            return scope.sources[name]
        scope = scope.parent
    return None


def _row_wide(root: Scope) -> Iterator[_Leaf]:
    for scope in root.traverse():
        if not isinstance(scope.expression, exp.Select):
            continue
        for clause, subtype in _CLAUSES:
            if isinstance(part := scope.expression.args.get(clause), exp.Expr):
                yield from _influence(scope, part, subtype)
        for join in scope.expression.args.get("joins") or ():
            if isinstance(condition := join.args.get("on"), exp.Expr):
                yield from _influence(scope, condition, "JOIN")


def _influence(scope: Scope, part: exp.Expr, subtype: str) -> Iterator[_Leaf]:
    aliases = {item.alias: item for item in _query(scope).selects if isinstance(item, exp.Alias)}
    for column in part.find_all(exp.Column):
        if column.table:
            yield from _column(scope, column, "INDIRECT", subtype)
        elif column.name in aliases:  # ORDER BY and HAVING may name an output
            for dataset, name, _, _ in _expression(scope, aliases[column.name], "IDENTITY"):
                yield dataset, name, "INDIRECT", subtype
