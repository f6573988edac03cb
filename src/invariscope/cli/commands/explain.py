"""`invariscope explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from invariscope.cli.console import show
from invariscope.cli.errors import Debug, command


@command
def explain(
    name: Annotated[
        str,
        typer.Argument(help="A measure, an output of a measure, a transform or a plot.", show_default=False),
    ],
    debug: Debug = False,
) -> None:
    """Explain a measure, with its formula and caveats, a transform, or a plot.

    Examples:

        invariscope explain normalized_variance
        invariscope explain prediction.accuracy
        invariscope explain rotation
        invariscope explain layer_profile
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
    from invariscope.plots import PLOTS
    from invariscope.transforms.base import TRANSFORMS, Transform

    plain = snake_case(name.split(".")[0])
    for registry, base in ((MEASURES, Measure), (TRANSFORMS, Transform)):
        if cls := registry.classes().get(plain):
            written = "\n".join(f"- `{way}`" for way in ways(cls, base))
            text = f"{documented(cls, base)}\n\n**Written as**\n\n{written}"
            return f"{plain}, a {registry.kind}", text
    if found := PLOTS.classes().get(plain):
        written = f"- `invariscope plot '{plain}(option=value)' RUN...`"
        return f"{plain}, a plot", f"{found.explain()}\n\n**Written as**\n\n{written}"
    hint = "`invariscope list measures`, `... transforms` and `... plots` show all."
    known = [*MEASURES.names(), *TRANSFORMS.names(), *PLOTS.names()]
    raise unknown("measure, transform or plot", name, known, hint=hint)
