"""`invariscope explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from invariscope.cli.console import show
from invariscope.cli.errors import Debug, command


@command
def explain(
    name: Annotated[
        str, typer.Argument(help="A measure, an output of one, or a transform.", show_default=False)
    ],
    debug: Debug = False,
) -> None:
    """Explain a measure (meaning, formula, caveats) or a transform.

    Examples:

        invariscope explain normalized_variance
        invariscope explain prediction.accuracy
        invariscope explain rotation
    """
    from rich.rule import Rule
    from rich.text import Text

    from invariscope.cli.docstrings import page

    title, text = _explained(name)
    show(Rule(Text(title, style="bold"), align="left"), page(text))


def _explained(name: str) -> tuple[str, str]:
    """A heading and a text in the style of a docstring."""
    from invariscope.cli.docstrings import documented
    from invariscope.common.registry import snake_case, unknown
    from invariscope.measures.base import MEASURES, Measure
    from invariscope.transforms.base import TRANSFORMS, Transform

    measures, transforms = MEASURES.classes(), TRANSFORMS.classes()
    plain = snake_case(name.split(".")[0])
    if plain in measures:
        cls = measures[plain]
        return f"{plain}, a measure", f"{documented(cls, Measure)}\n\n{_options(cls, Measure)}"
    if plain in transforms:
        cls = transforms[plain]
        return f"{plain}, a transform", f"{documented(cls, Transform)}\n\n{_options(cls, Transform)}"
    hint = "`invariscope list measures` and `invariscope list transforms` show all."
    raise unknown("measure or transform", name, [*measures, *transforms], hint=hint)


def _options(cls: type, base: type) -> str:
    from invariscope.catalog.expressions import ways

    return "**Written as**\n\n" + "\n".join(f"- `{way}`" for way in ways(cls, base))
