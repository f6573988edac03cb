"""`invariscope explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from invariscope.cli.console import show
from invariscope.cli.errors import Debug, command


@command
def explain(
    name: Annotated[
        str, typer.Argument(help="A measure, an output of a measure, or a transform.", show_default=False)
    ],
    debug: Debug = False,
) -> None:
    """Explain a measure, with its formula and caveats, or a transform.

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
    """Return a heading and a text in docstring format."""
    from invariscope.catalog.expressions import ways
    from invariscope.cli.docstrings import documented
    from invariscope.common.registry import snake_case, unknown
    from invariscope.measures.base import MEASURES, Measure
    from invariscope.transforms.base import TRANSFORMS, Transform

    plain = snake_case(name.split(".")[0])
    for registry, base in ((MEASURES, Measure), (TRANSFORMS, Transform)):
        if cls := registry.classes().get(plain):
            written = "\n".join(f"- `{way}`" for way in ways(cls, base))
            text = f"{documented(cls, base)}\n\n**Written as**\n\n{written}"
            return f"{plain}, a {registry.kind}", text
    hint = "`invariscope list measures` and `invariscope list transforms` show all."
    raise unknown("measure or transform", name, [*MEASURES.names(), *TRANSFORMS.names()], hint=hint)
