"""Check a pickle for values that are too many or too nested to build, without building any."""

from __future__ import annotations

import pickletools
from typing import BinaryIO

_MOST_STEPS = 1_000_000
_MOST_VALUES = 2_000_000
_DEEPEST = 100
_MOST_REMEMBERED = 1_000_000

_Item = tuple[int, int]  # values in it, counting shared ones every time, and depth of nesting
_PLAIN: _Item = (1, 1)
_EXTENDING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}


def refuse_costly(stream: BinaryIO, *, most_steps: int = _MOST_STEPS) -> None:
    """Raise ValueError for a pickle that takes long to build, and leave the stream at its end.

    A few hundred bytes suffice for tuples of tuples that share their parts, whose hash or text takes years,
    and for a memo of many gigabytes.
    """
    stack: list[_Item | None] = []  # None marks the start of a sequence
    memo: dict[int, _Item] = {}
    for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if step > most_steps:
            raise ValueError(f"its pickle has more than {most_steps:,} steps")
        name = opcode.name
        if name.endswith("PUT") or name == "MEMOIZE":
            place = len(memo) if name == "MEMOIZE" else int(argument)  # type: ignore[arg-type]
            if place > _MOST_REMEMBERED:
                raise ValueError(f"its pickle refers to value number {place:,}")
            memo[place] = _top(stack)
        elif name.endswith("GET"):
            stack.append(memo.get(int(argument), _PLAIN))  # type: ignore[arg-type]
        elif name == "DUP":
            stack.append(_top(stack))
        elif name == "MARK":
            stack.append(None)
        else:
            taken = _taken(stack, opcode)
            item = _joined(taken[:-1], taken[-1]) if name in _EXTENDING else _joined(taken)
            stack += [item] * len(opcode.stack_after)


def _top(stack: list[_Item | None]) -> _Item:
    if not stack or stack[-1] is None:
        raise ValueError("its pickle is malformed")
    return stack[-1]


def _taken(stack: list[_Item | None], opcode: pickletools.OpcodeInfo) -> list[_Item]:
    """Remove from the stack what an operation takes, and return it."""
    before, found = len(opcode.stack_before), []
    if pickletools.stackslice in opcode.stack_before:
        while stack and stack[-1] is not None:
            found.append(stack.pop())
        if not stack:
            raise ValueError("its pickle is malformed")
        stack.pop()
        before -= 2  # the mark, and what follows it
    for _ in range(before):
        found.append(_top(stack))
        stack.pop()
    return found


def _joined(parts: list[_Item], into: _Item = (1, 0)) -> _Item:
    """Return the item that holds these parts, besides what is in `into`."""
    values = into[0] + sum(part[0] for part in parts)
    depth = max(into[1], 1 + max((part[1] for part in parts), default=0))
    if values > _MOST_VALUES or depth > _DEEPEST:
        raise ValueError("its pickle has values nested too deeply or repeated too often")
    return values, depth
