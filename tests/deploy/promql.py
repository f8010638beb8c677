"""What a PromQL expression reads, from its syntax tree."""

from __future__ import annotations

from dataclasses import dataclass

import promql_parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """One selection of series. ``matchers``: label -> value or pattern, as written."""

    name: str
    matchers: dict[str, str]


def selectors(expr: str) -> list[Selector]:
    """Return every selector of an expression; ValueError if it does not parse."""
    found: list[Selector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name is not None, f"a selector without a name in {expr}"
            found.append(Selector(name=node.name, matchers={m.name: m.value for m in node.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expr), pre_visit=visit)
    return found


def grouping_labels(expr: str) -> set[str]:
    """Return the labels that aggregations keep and joins match on or take over."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            found.update(node.modifier.matching.labels if node.modifier.matching is not None else ())
            found.update(node.modifier.group_labels or ())

    promql_parser.walk(promql_parser.parse(expr), pre_visit=visit)
    return found


def calls(expr: str, name: str) -> list[promql_parser.Call]:
    """Return every call of a function."""
    found: list[promql_parser.Call] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.Call) and node.func.name == name:
            found.append(node)

    promql_parser.walk(promql_parser.parse(expr), pre_visit=visit)
    return found
