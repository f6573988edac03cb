"""What the shell completes: measures, transforms, plots, and layers of networks of this package."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

_ZOO = re.compile(r"zoo ?: ?(\w+)")
_LINES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # the words of the command in bash, and in other shells


def transform_names(incomplete: str) -> list[tuple[str, str]]:
    """Return the transforms that begin with a text, each with a sentence about it."""
    return _known("list_transforms", incomplete)


def measure_names(incomplete: str) -> list[tuple[str, str]]:
    """Return the measures that begin with a text; of a list, the last entry is completed.

    >>> [name for name, _ in measure_names("cka, equivariance_p")]
    ['cka, equivariance_psnr']
    """
    before, comma, last = incomplete.rpartition(",")
    lead = before + comma + " " * (len(last) - len(last.lstrip()))
    return [(lead + name, text) for name, text in _known("list_measures", last.strip())]


def plot_names(incomplete: str) -> list[tuple[str, str]]:
    """Return the plots that begin with a text."""
    return _known("list_plots", incomplete)


def _known(listing: str, incomplete: str) -> list[tuple[str, str]]:
    import invariscope as iv

    list_names: Callable[[], Mapping[str, str]] = getattr(iv, listing)
    return [(name, text) for name, text in list_names().items() if name.startswith(incomplete)]


def layer_names(incomplete: str) -> list[str]:
    """Return the layers that begin with a text, if the model is a network of this package."""
    # The parser gives up on the unfinished option before it reads the model. Bash splits words at colons.
    line = " ".join(os.environ.get(name, "") for name in _LINES)
    found = _ZOO.search(line)
    if found is None:
        return []
    from invariscope.zoo.networks import NETWORKS

    if found[1] not in NETWORKS.names():
        return []
    from invariscope.cli.models import load_model

    modules = load_model(f"zoo:{found[1]}").model.named_modules()
    return [name for name, _ in modules if name and name.startswith(incomplete)]
