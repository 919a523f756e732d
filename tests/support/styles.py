"""A style sheet taken apart, for tests that hold it against what it styles and against what a browser knows."""

from collections.abc import Iterator
from typing import Any

import tinycss2

_OF_RULES = ("media", "supports", "layer", "container")
"""At-rules that hold rules."""


def problems(sheet: str) -> list[str]:
    """Return what a parser finds wrong with the style sheet, each with its line; rules inside rules count as wrong."""
    found = [f"line {node.source_line}: {node.message}" for node in _nodes(sheet) if node.type == "error"]
    for rule in _rules(_top(sheet)):
        inside = tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True)
        found += [f"line {node.source_line}: a rule inside a rule" for node in inside if node.type == "qualified-rule"]
    if sheet.count("{") != sheet.count("}"):
        found.append("a brace that is not closed")
    return found


def declarations(sheet: str) -> list[tuple[str, str, str]]:
    """Return (rule, property, value) of every declaration. The rule is named by its line and selector."""
    found = []
    for rule in _rules(_top(sheet)):
        name = f"line {rule.source_line}: {tinycss2.serialize(rule.prelude).strip()}"
        for node in tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True):
            if node.type == "declaration":
                found.append((name, node.name, tinycss2.serialize(node.value).strip()))
    return found


def selectors(sheet: str) -> list[str]:
    """Return the selectors of every rule, lists of them as one."""
    return [tinycss2.serialize(rule.prelude).strip() for rule in _rules(_top(sheet))]


def _top(sheet: str) -> list[Any]:
    return tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)


def _rules(nodes: list[Any]) -> Iterator[Any]:
    for node in nodes:
        if node.type == "qualified-rule":
            yield node
        elif node.type == "at-rule" and node.lower_at_keyword in _OF_RULES:
            yield from _rules(tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True))


def _nodes(sheet: str) -> Iterator[Any]:
    """Yield the rules of all levels, their declarations, and every token inside them."""
    waiting = list(_top(sheet))
    while waiting:
        node = waiting.pop(0)
        yield node
        if node.type == "qualified-rule":
            waiting += node.prelude
            waiting += tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
        elif node.type == "at-rule" and node.lower_at_keyword in _OF_RULES:
            waiting += tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)
        elif node.type == "declaration":
            waiting += node.value
        elif node.type == "function":
            waiting += node.arguments
