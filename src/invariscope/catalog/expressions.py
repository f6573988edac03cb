"""Transforms and measures, written as in Python and read without running any of it.

    Rotation.circle(16)
    Grid(Rotation.circle(4), Scale([0.8, 1.0]))
    normalized_variance, NormalizedVariance(preset="tmeasures")

A text is parsed to a syntax tree. Only three things in it mean something: the name of a registered
class, a call of such a class or of one of its public constructors, and literals. Everything else,
a name that is not registered included, is refused before anything is called.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.common.registry import Registry, refuse_unknown_options, snake_case, unknown

if TYPE_CHECKING:
    from invariscope.measures.base import Measure
    from invariscope.transforms.base import Transform

MAX_LENGTH = 4000


def read_transform(text: str) -> Transform:
    """The transform that a text such as "Rotation.circle(16)" or "quarter_turns" stands for.

    Raises:
        ValueError: unreadable text, an unknown family or constructor, an argument that is no literal.
        TypeError: arguments that do not fit; the message shows the ones that do.
    """
    from invariscope.transforms.base import TRANSFORMS, Transform

    language = _Language(TRANSFORMS, Transform, "'Rotation.circle(16)' or 'quarter_turns'")
    entries = language.read(text)
    if len(entries) != 1:
        raise ValueError(
            f"{text!r} names {len(entries)} transforms, one is needed; "
            "all combinations of several are Grid(...), one after the other is Compose([...])"
        )
    return entries[0]


def read_measures(texts: list[str]) -> tuple[Measure, ...]:
    """The measures that texts such as "normalized_variance,prediction" stand for.

    Raises:
        ValueError, TypeError: as `read_transform`.
    """
    from invariscope.measures.base import MEASURES, Measure

    example = "'normalized_variance' or 'NormalizedVariance(spread=\"std\")'"
    language = _Language(MEASURES, Measure, example)
    return tuple(measure for text in texts for measure in language.read(text))


@dataclass(frozen=True)
class _Language:
    """What may be written: the classes of one registry, their constructors, literals."""

    registry: Registry
    base: type
    example: str

    def read(self, text: str) -> tuple[Any, ...]:
        """The objects of a text with one expression, or with several separated by commas."""
        tree = self._tree(text)
        nodes = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        return tuple(self._object(node, text) for node in nodes)

    def _tree(self, text: str) -> ast.expr:
        if len(text) > MAX_LENGTH:
            raise ValueError(
                f"the {self.registry.kind} is {len(text):,} characters long, limit {MAX_LENGTH:,}"
            )
        try:
            return ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or str(error)
            raise ValueError(
                f"cannot read the {self.registry.kind} {text!r} ({reason}). "
                f"Write it as in Python, for example {self.example}."
            ) from None

    def _object(self, node: ast.expr, text: str) -> Any:
        if isinstance(node, ast.Call):
            return self._called(node, text)
        if isinstance(node, ast.Name):
            return self._made(self.registry.get(snake_case(node.id)), None, [], {})
        raise self._refused(node, text)

    def _called(self, node: ast.Call, text: str) -> Any:
        if any(keyword.arg is None for keyword in node.keywords):
            raise self._refused(node, text)
        cls, constructor = self._callee(node.func, text)
        positional = [self._value(entry, text) for entry in node.args]
        named = {str(keyword.arg): self._value(keyword.value, text) for keyword in node.keywords}
        return self._made(cls, constructor, positional, named)

    def _callee(self, node: ast.expr, text: str) -> tuple[type, str | None]:
        if isinstance(node, ast.Name):
            return self.registry.get(snake_case(node.id)), None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.registry.get(snake_case(node.value.id)), node.attr
        raise self._refused(node, text)

    def _value(self, node: ast.expr, text: str) -> Any:
        """An argument: a literal, a list of arguments, or a nested object."""
        if isinstance(node, ast.Call | ast.Name):
            return self._object(node, text)
        if isinstance(node, ast.List):
            return [self._value(entry, text) for entry in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(self._value(entry, text) for entry in node.elts)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
            return node.value
        return self._signed(node, text)

    def _signed(self, node: ast.expr, text: str) -> float:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = node.operand
            if isinstance(number, ast.Constant) and type(number.value) in (int, float):
                return -number.value if isinstance(node.op, ast.USub) else number.value  # type: ignore[operator]
        raise self._refused(node, text)

    def _made(self, cls: type, constructor: str | None, positional: list, named: dict[str, Any]) -> Any:
        make = cls if constructor is None else self._constructor(cls, constructor)
        refuse_unknown_options(make, named, name=_spelled(cls, constructor))
        try:
            inspect.signature(make).bind(*positional, **named)
        except TypeError as error:
            raise TypeError(f"{_spelled(cls, constructor)}: {error}. It is {self._ways(cls)}.") from None
        return make(*positional, **named)

    def _constructor(self, cls: type, name: str) -> Callable[..., Any]:
        known = constructors(cls, self.base)
        if name not in known:
            raise unknown(f"constructor of {cls.__name__}", name, known, hint=f"It is {self._ways(cls)}.")
        return known[name]

    def _ways(self, cls: type) -> str:
        return " or ".join(ways(cls, self.base))

    def _refused(self, node: ast.expr, text: str) -> ValueError:
        part = ast.get_source_segment(text.strip(), node) or text
        return ValueError(
            f"{part!r} may not stand in a {self.registry.kind}: only names of {self.registry.kind}s, their "
            f"constructors, numbers, texts, True, False, None and lists of those; for example {self.example}."
        )


def constructors(cls: type, base: type) -> dict[str, Callable[..., Any]]:
    """The public class methods of a family that its base does not have: other ways to make one."""
    names = (name for name in dir(cls) if not name.startswith("_") and not hasattr(base, name))
    return {
        name: getattr(cls, name)
        for name in names
        if isinstance(inspect.getattr_static(cls, name), classmethod)
    }


def ways(cls: type, base: type) -> list[str]:
    """How a family's objects are made: "Rotation(degrees, *, ...)", "Rotation.circle(m, ...)"."""
    calls = {None: cls, **constructors(cls, base)}
    return [f"{_spelled(cls, name)}{_bare_signature(make)}" for name, make in calls.items()]


def _spelled(cls: type, constructor: str | None) -> str:
    return cls.__name__ if constructor is None else f"{cls.__name__}.{constructor}"


def _bare_signature(make: Callable[..., Any]) -> str:
    """The signature without annotations, which only get in the way on one line."""
    signature = inspect.signature(make)
    bare = [p.replace(annotation=p.empty, default=_brief(p.default)) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def _brief(default: Any) -> Any:
    return _DOTS if isinstance(default, tuple) and len(default) > 4 else default


class _Dots:
    """Stands for a long default."""

    def __repr__(self) -> str:
        return "..."


_DOTS = _Dots()
