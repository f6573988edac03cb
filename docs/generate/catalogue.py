"""Create the pages of measures and transforms from their registries and docstrings."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import griffe
from mathematics import markdown_of

from invariscope.measures.base import MEASURES, Measure
from invariscope.measures.values import Output
from invariscope.measures.variance import PRESETS, NormalizedVariance
from invariscope.transforms.base import TRANSFORMS, Transform

_LABELS_SHOWN = 8
_DEFAULT_SHOWN, _REPR_SHOWN = 30, 90
_FUNCTION = re.compile(r"<(?:built-in method|function) (?:\w+\.)*(\w+)[^<>]*>")


def pages() -> dict[str, str]:
    """Return the two overview pages, and one page per measure and transform."""
    measures, transforms = MEASURES.classes(), TRANSFORMS.classes()
    return {
        "measures/index.md": _overview("Measures", _MEASURES, {n: c.summary for n, c in measures.items()}),
        "transforms/index.md": _overview(
            "Transforms", _TRANSFORMS, {n: first_sentence(c) for n, c in transforms.items()}
        ),
        **{f"measures/{name}.md": measure_page(name, cls) for name, cls in measures.items()},
        **{f"transforms/{name}.md": transform_page(name, cls) for name, cls in transforms.items()},
    }


_MEASURES = (
    "Measures compute numbers from the responses of a network. All requested measures share one pass over "
    "the data. Use these names in `iv.measure(..., measures=[...])` and `invariscope measure --measures`. "
    "A measure is [one file](../contributing.md), and is listed here automatically."
)
_TRANSFORMS = (
    "A transform is a finite, ordered, labelled list of elements that are applied to the inputs. The table "
    "lists the registered transforms; a list of callables on batches can be used as a transform too. "
    "[Which transform?](../which_transform.md) helps you choose one."
)


def _overview(title: str, lead: str, entries: dict[str, str]) -> str:
    rows = [f"| [`{name}`]({name}.md) | {cell(text)} |" for name, text in entries.items()]
    return "\n".join([f"# {title}", "", lead, "", "| name | |", "|---|---|", *rows, ""])


def measure_page(name: str, cls: type[Measure]) -> str:
    """Return the page of a measure: summary, outputs, options and docstring."""
    outputs = cls.examples()[0].outputs()
    lows, highs = zip(*(output.range for output in outputs.values()), strict=True)
    low, high = _number(min(lows)), _number(max(highs))
    return "\n\n".join(
        [
            f"# {spaced(cls)}",
            f"`{name}` on the command line, `iv.{cls.__name__}()` in Python; values from {low} to {high}; "
            + ("one per unit and layer." if cls.scope == "layers" else "computed from the model's output."),
            _documentation(cls, members=[]),
            _outputs(name, outputs),
            _options(cls),
        ]
    )


def _outputs(name: str, outputs: dict[str, Output]) -> str:
    rows = [
        f"| `{name}{f'.{key}' if key else ''}` | {cell(output.title)} | {_range(output)} |"
        for key, output in outputs.items()
    ]
    return "\n".join(["## Outputs", "", "| row | | range |", "|---|---|---|", *rows])


def _range(output: Output) -> str:
    return " to ".join(map(_number, output.range))


def transform_page(name: str, cls: type[Transform]) -> str:
    """Return the page of a transform: summary, constructors, options and examples."""
    makers = [key for key, entry in vars(cls).items() if isinstance(entry, classmethod) and key != "examples"]
    return "\n\n".join(
        [
            f"# {spaced(cls)}",
            f"`{name}` in listings, `iv.{cls.__name__}` in Python.",
            _documentation(cls, members=[key for key in makers if not key.startswith("_")]),
            _options(cls),
            _examples(cls),
        ]
    )


def presets() -> str:
    """Return a table of the options that each published convention sets."""
    options = {name: NormalizedVariance(preset=name).options for name in PRESETS}
    shown = [name for name in options["slides"] if name not in ("preset", "norm")]
    rows = [
        f"| `{name}` | " + " | ".join(f"`{given[option]!r}`" for option in shown) + " |"
        for name, given in options.items()
    ]
    return "\n".join([f"| preset | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|", *rows])


def _documentation(cls: type, *, members: list[str]) -> str:
    """Return directives that insert the docstring of a class and, under headings, those of some members."""
    place = f"{cls.__module__}.{cls.__qualname__}"
    hidden = ("signature", "root_heading", "docstring_parameters", "docstring_attributes")
    whole = [
        f"::: {place}",
        "    options:",
        "      members: false",
        *(f"      show_{h}: false" for h in hidden),
    ]
    makers = [f"::: {place}.{member}\n    options:\n      heading_level: 3" for member in members]
    return "\n\n".join(["\n".join(whole), *(["## Constructors", *makers] if makers else [])])


def _options(cls: type) -> str:
    options = [p for p in inspect.signature(cls).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if not options:
        return "## Options\n\nNone."
    said = _described(cls)
    rows = [f"| `{p.name}` | {default(p.default)} | {cell(said.get(p.name, ''))} |" for p in options]
    return "\n".join(["## Options", "", "| option | default | |", "|---|---|---|", *rows])


def _described(cls: type) -> dict[str, str]:
    """Return the description of each option from the docstrings of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docstring = griffe.Docstring(inspect.cleandoc(vars(base).get("__doc__") or ""))
        for part in docstring.parse("google", warnings=False):
            if part.kind is griffe.DocstringSectionKind.parameters:
                names = ((entry.name, entry.description) for entry in part.value)
                found |= {name.strip(): text for entry, text in names for name in entry.split(",")}
    return found


def default(value: Any) -> str:
    """Return the default of an option as code."""
    return "required" if value is inspect.Parameter.empty else _shown(value, _DEFAULT_SHOWN)


def _shown(value: Any, length: int) -> str:
    """Return the value as code; show functions by name, since their addresses change with every build."""
    text = _FUNCTION.sub(r"\1", repr(value)).replace("|", "\\|")
    return f"`{text}`" if len(text) <= length else f"`{text[:length]}…`"


def _examples(cls: type[Transform]) -> str:
    rows = [
        f"| {_shown(one, _REPR_SHOWN)} | {len(one)} | {_labels(one)} | {_exactness(one)} | {_group(one)} |"
        for one in cls.examples()
    ]
    header = ["| transform | elements | labels | exact on the pixel grid | group |", "|---|---|---|---|---|"]
    return "\n".join(["## Examples", "", *header, *rows])


def _labels(transform: Transform) -> str:
    shown = list(transform.labels[:_LABELS_SHOWN])
    return cell(", ".join(shown + ["…"] * (len(transform) > len(shown))))


def _exactness(transform: Transform) -> str:
    count = sum(transform.exact)
    return {len(transform): "all", 0: "none"}.get(count, f"{count} of {len(transform)}")


def _group(transform: Transform) -> str:
    return "no" if transform.table() is None else "yes"


def spaced(cls: type) -> str:
    """Return the name of a class as a title: "Normalized variance", "Equivariance PSNR"."""
    first, *others = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", cls.__name__)
    return " ".join([first, *(word if word.isupper() else word.lower() for word in others)])


def first_sentence(cls: type) -> str:
    """Return the first paragraph of a docstring."""
    return markdown_of(inspect.getdoc(cls) or "").split("\n\n")[0]


def cell(text: str) -> str:
    """Return the text of a docstring for a cell of a table."""
    return " ".join(markdown_of(text).split()).replace("|", "\\|")


def _number(value: float) -> str:
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    return f"{value:g}"
