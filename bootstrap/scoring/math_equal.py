"""Decides whether two readings mean the same, given the equality of their expressions and equations.

Left out: comparing expressions beyond exact arithmetic, which takes a confined process (`math_kernel.py`). This module
only compares texts and fractions.
"""

from collections.abc import Iterator, Mapping
from itertools import product

from bootstrap.scoring import math_units
from bootstrap.scoring.math_nodes import Block, Item, Node, Reading

Pair = tuple[Node, Node]
"""An expression or equation of the reference, and one of the answer."""


def differ_in_words(reference: Reading, answer: Reading, *, prompt: str) -> str:
    """Return why the names or units beside the values differ; "" where they do not.

    A name or a unit may be missing on one side. A unit that the reference lacks must be the one that `prompt` names.
    """
    names = [{block.name for block in reading.blocks if block.name} for reading in (reference, answer)]
    if names[0] and names[1] and not names[0] & names[1]:
        return "another name"
    ours, theirs = ({item.unit for block in r.blocks for item in block.items if item.unit} for r in (reference, answer))
    if ours and theirs - ours:
        return "another unit"
    if not ours and not all(math_units.names(prompt, unit) for unit in theirs):
        return "a unit that neither the reference nor the prompt names"
    return ""


def open_pairs(reference: Reading, answer: Reading) -> Iterator[Pair]:
    """Yield the pairs that decide on equality and that exact arithmetic cannot compare."""
    for left, right in _block_pairs(reference, answer):
        if not _may_be_same(left, right):
            continue
        if left.shape == "=":
            if not _is_written_alike(left, right):
                yield _equation(left), _equation(right)
            continue
        for a_items, b_items in _matches(left, right):
            results = [(_exactly(a, b), (a.node, b.node)) for a, b in zip(a_items, b_items, strict=True)]
            if not any(result is False for result, _ in results):
                yield from (pair for result, pair in results if result is None)


def are_equal(reference: Reading, answer: Reading, equal: Mapping[Pair, bool]) -> bool:
    """Whether both mean the same, given the equality of the open pairs."""

    def same(left: Block, right: Block) -> bool:
        if not _may_be_same(left, right):
            return False
        if left.shape == "=":
            return _is_written_alike(left, right) or equal.get((_equation(left), _equation(right)), False)
        return any(
            all(_decided(a, b, equal) for a, b in zip(a_items, b_items, strict=True))
            for a_items, b_items in _matches(left, right)
        )

    if _ordered(reference, answer):
        pairs = list(_block_pairs(reference, answer))
        return bool(pairs) and all(same(left, right) for left, right in pairs)
    if reference.kind == "tuple" and len(reference.blocks) != len(answer.blocks):
        return False
    return all(any(same(left, right) for right in answer.blocks) for left in reference.blocks) and all(
        any(same(left, right) for left in reference.blocks) for right in answer.blocks
    )


def _ordered(reference: Reading, answer: Reading) -> bool:
    return reference.ordered and answer.ordered


def _block_pairs(reference: Reading, answer: Reading) -> Iterator[tuple[Block, Block]]:
    if not _ordered(reference, answer):
        yield from product(reference.blocks, answer.blocks)
    elif len(reference.blocks) == len(answer.blocks):
        ours, theirs = _by_name(reference), _by_name(answer)
        if ours and theirs and ours.keys() == theirs.keys():
            # Names match the members, as in `x=1, y=2`, whatever their order.
            yield from ((block, theirs[name]) for name, block in ours.items())
        else:
            yield from zip(reference.blocks, answer.blocks, strict=True)


def _by_name(reading: Reading) -> dict[str, Block]:
    """Return the members by name; empty unless each has its own name."""
    members = {block.name: block for block in reading.blocks}
    return members if len(members) == len(reading.blocks) and "" not in members else {}


def _may_be_same(left: Block, right: Block) -> bool:
    return (
        left.shape == right.shape
        and len(left.items) == len(right.items)
        and (not left.name or not right.name or left.name == right.name)
        and all(not b.unit or not a.unit or a.unit == b.unit for a, b in zip(left.items, right.items, strict=True))
    )


def _matches(left: Block, right: Block) -> Iterator[tuple[tuple[Item, ...], tuple[Item, ...]]]:
    """Yield each way to pair the items of two blocks: two ways for the sides of a `!=`, else one."""
    yield left.items, right.items
    if left.shape == "!=":
        yield left.items, right.items[::-1]


def _equation(block: Block) -> Node:
    return Node("equation", tuple(item.node for item in block.items))


def _is_written_alike(left: Block, right: Block) -> bool:
    """Whether two equations have the same sides, in either order."""
    sides = _equation(left).args, _equation(right).args
    return sides[0] in (sides[1], sides[1][::-1])


def _decided(reference: Item, answer: Item, equal: Mapping[Pair, bool]) -> bool:
    exactly = _exactly(reference, answer)
    # A pair that was not compared belongs to blocks that differ anyway.
    return equal.get((reference.node, answer.node), False) if exactly is None else exactly


def _exactly(reference: Item, answer: Item) -> bool | None:
    """Whether both are equal by exact arithmetic; None where it cannot tell."""
    if reference.exact is not None and answer.exact is not None:
        return reference.exact == answer.exact
    if "infinity" in (reference.node.op, answer.node.op):
        return reference.node == answer.node
    return True if reference.node == answer.node else None
