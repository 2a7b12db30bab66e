"""Changing the product's code for a moment: a piece of a function's text replaced, and put back later.

A mutant reads like the diff that would bring the bug in. The text has to be there exactly once: when the
product's code moves on, the mutant has to follow, and says so.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any


class Patch:
    """Changes that ``undo`` takes back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def text(self, owner: Any, name: str, *changes: tuple[str, str], also: tuple[Any, ...] = ()) -> None:
        """Replace text in a function.

        Args:
            owner: the class or module that holds it.
            name: its name there.
            changes: pairs of what is there and what comes in its place.
            also: modules that have imported the function by name.
        """
        static = inspect.getattr_static(owner, name)
        function: Any = static.__func__ if isinstance(static, classmethod | staticmethod) else static
        assert isinstance(function, FunctionType)
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in changes:
            if source.count(old) != 1:
                raise AssertionError(f"{name} holds {source.count(old)} times: {old}")
            source = source.replace(old, new)
        module = sys.modules[function.__module__]
        space: dict[str, Any] = {}
        code = compile(
            source, f"<{name}>", "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True
        )
        exec(code, module.__dict__, space)  # noqa: S102 - the product's own text, with one change
        for place in (owner, *also):
            self.set(place, name, space[name])

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute."""
        self._before.append((owner, name, inspect.getattr_static(owner, name)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put everything back."""
        for owner, name, value in reversed(self._before):
            setattr(owner, name, value)
        self._before = []


@contextmanager
def patched() -> Iterator[Patch]:
    """A patch that is taken back at the end."""
    patch = Patch()
    try:
        yield patch
    finally:
        patch.undo()
