"""Transforms, measures and plots written as Python expressions, which are parsed and never evaluated.

    Rotation.circle(16)
    Grid(Rotation.circle(4), Scale([0.8, 1.0]))
    normalized_variance, NormalizedVariance(preset="tmeasures")
    layer_profile(stratum="mean")

A text is parsed to a syntax tree. The tree may contain names of registered classes, calls of such classes or
of their public constructors, and literals. Anything else is rejected before any call is made.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invariscope.common.registry import Registry, refuse_unknown_options, snake_case, unknown

if TYPE_CHECKING:
    from invariscope.measures.base import Measure
    from invariscope.transforms.base import Transform

MAX_LENGTH = 4000


def read_transform(text: str) -> Transform:
    """Parse a string such as "Rotation.circle(16)" or "quarter_turns", and return the transform.

    Raises:
        ValueError: invalid syntax, an unknown class or constructor, or an argument that is not a literal.
        TypeError: wrong arguments; the message shows the signature.
    """
    from invariscope.transforms.base import TRANSFORMS, Transform

    language = _Language(TRANSFORMS, Transform, "'Rotation.circle(16)' or 'quarter_turns'")
    entries = language.read(text)
    if len(entries) != 1:
        raise ValueError(
            f"{text!r} names {len(entries)} transforms, expected one; "
            "use Grid(...) for all combinations, Compose([...]) to apply one after the other"
        )
    return entries[0]


def read_measures(texts: list[str]) -> tuple[Measure, ...]:
    """Return the measures written as texts such as "normalized_variance,prediction".

    Raises:
        ValueError, TypeError: as for `read_transform`.
    """
    from invariscope.common.symbols import SYMBOLS
    from invariscope.measures.base import MEASURES, Measure

    example = "'normalized_variance' or 'NormalizedVariance(spread=\"std\")'"
    language = _Language(MEASURES, Measure, example, SYMBOLS)
    return tuple(measure for text in texts for measure in language.read(text))


def read_plot(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of a plot written as "layer_profile(stratum='mean')".

    Raises:
        ValueError: invalid syntax, or an option that is not a literal. Names are not checked.
    """
    from invariscope.plots import PLOTS, Plot

    return _Language(PLOTS, Plot, "'layer_profile' or 'unit_heatmap(sort=True)'").call(text)


@dataclass(frozen=True)
class _Language:
    """A grammar of the classes of one registry, their constructors, and literals."""

    registry: Registry
    base: type
    example: str
    symbols: Mapping[str, str] = field(default_factory=dict)

    def read(self, text: str) -> tuple[Any, ...]:
        """Return the objects of a text with one or more expressions, separated by commas."""
        tree = self._tree(text)
        nodes = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        return tuple(self._object(node, text) for node in nodes)

    def call(self, text: str) -> tuple[str, dict[str, Any]]:
        """Return the name and the keywords of a call, or of a name alone, without making an object."""
        node = self._tree(text)
        made = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if made.args or not isinstance(made.func, ast.Name):
            raise self._refused(node, text)
        words = {keyword.arg or "": keyword.value for keyword in made.keywords}
        wrong = next((value for word, value in words.items() if not word or not _is_literal(value)), None)
        if wrong is not None:
            raise self._refused(wrong, text)
        return snake_case(made.func.id), {word: self._value(value, text) for word, value in words.items()}

    def _tree(self, text: str) -> ast.expr:
        if len(text) > MAX_LENGTH:
            raise ValueError(
                f"the text of the {self.registry.kind} has {len(text):,} characters; at most "
                f"{MAX_LENGTH:,} are allowed"
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
            return self._made(
                self.registry.get(self.symbols.get(node.id.lower()) or snake_case(node.id)), None, [], {}
            )
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
            return self.registry.get(self.symbols.get(node.id.lower()) or snake_case(node.id)), None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.registry.get(snake_case(node.value.id)), node.attr
        raise self._refused(node, text)

    def _value(self, node: ast.expr, text: str) -> Any:
        """Return an argument: a literal, a list of arguments, or a nested object."""
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
            several = constructor is None and _are_numbers(positional)
            hint = f" Give several numbers as a list: {cls.__name__}({positional})." if several else ""
            said = f"{_spelled(cls, constructor)}: {error}.{hint} Write {self._ways(cls)}."
            raise TypeError(said) from None
        return make(*positional, **named)

    def _constructor(self, cls: type, name: str) -> Callable[..., Any]:
        known = constructors(cls, self.base)
        if name not in known:
            raise unknown(f"constructor of {cls.__name__}", name, known, hint=f"Write {self._ways(cls)}.")
        return known[name]

    def _ways(self, cls: type) -> str:
        return " or ".join(ways(cls, self.base))

    def _refused(self, node: ast.expr, text: str) -> ValueError:
        part = ast.get_source_segment(text.strip(), node) or text
        return ValueError(
            f"{part!r} is not allowed in a {self.registry.kind}. Use names of {self.registry.kind}s, their "
            f"constructors, numbers, strings, True, False, None and lists of those, as in {self.example}."
        )


def _are_numbers(values: list[Any]) -> bool:
    return len(values) > 1 and all(isinstance(value, int | float) for value in values)


def _is_literal(node: ast.expr) -> bool:
    return not any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node))


def constructors(cls: type, base: type) -> dict[str, Callable[..., Any]]:
    """Return the public class methods that a class adds to its base, which are alternative constructors."""
    names = (name for name in dir(cls) if not name.startswith("_") and not hasattr(base, name))
    return {
        name: getattr(cls, name)
        for name in names
        if isinstance(inspect.getattr_static(cls, name), classmethod)
    }


def ways(cls: type, base: type) -> list[str]:
    """Return the signatures of a class and its constructors, such as "Rotation.circle(m, ...)"."""
    calls = {None: cls, **constructors(cls, base)}
    return [f"{_spelled(cls, name)}{_bare_signature(make)}" for name, make in calls.items()]


def _spelled(cls: type, constructor: str | None) -> str:
    return cls.__name__ if constructor is None else f"{cls.__name__}.{constructor}"


def _bare_signature(make: Callable[..., Any]) -> str:
    """Return the signature without annotations, so that it fits on one line."""
    signature = inspect.signature(make)
    bare = [p.replace(annotation=p.empty, default=_brief(p.default)) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def _brief(default: Any) -> Any:
    return _DOTS if isinstance(default, tuple) and len(default) > 4 else default


class _Dots:
    """Placeholder for a long default."""

    def __repr__(self) -> str:
        return "..."


_DOTS = _Dots()
