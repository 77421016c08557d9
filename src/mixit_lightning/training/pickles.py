"""A look into a pickle before it is loaded: what PyTorch then runs is harmless, but need not come to an end."""

import pickletools
from typing import Any

MOST_DEEP = 32
"""Tuples in tuples; those of a tensor are two deep."""

MARK = object()


def check_depth(pickle: bytes) -> None:
    """Refuse tuples of tuples of tuples: as a key, each is hashed as often as it is in the next, which may be twice.

    Raises:
        ValueError: there are such, or it is no pickle.
    """
    stack: list[Any] = []  # how deep each value on the pickle's own stack is
    memo: dict[int, int] = {}
    try:
        for code, argument, _ in pickletools.genops(pickle):
            if "PUT" in code.name or code.name == "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            elif "GET" in code.name:
                stack.append(memo[int(argument or 0)])
            elif code.name == "MARK":
                stack.append(MARK)
            else:
                depth = 1 + max((value for value in taken(stack, code) if value is not MARK), default=0)
                if depth > MOST_DEEP:
                    raise ValueError("its tuples are too deep")
                made = depth if "TUPLE" in code.name or code.name == "REDUCE" else 0
                stack += [depth - 1 if code.name == "DUP" else made] * len(code.stack_after)
    except (IndexError, KeyError) as error:
        raise ValueError("it is no pickle") from error


def taken(stack: list[Any], code: pickletools.OpcodeInfo) -> list[Any]:
    """Take what an operation takes from the stack."""
    values = []
    for kind in reversed(code.stack_before):
        if kind is pickletools.stackslice:
            while stack[-1] is not MARK:
                values.append(stack.pop())
        else:
            values.append(stack.pop())
    return values
