"""Public names: of the package, the registries, the command line, tables and saved files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import typer

import invariscope as iv

from . import reach
from .capture import Names
from .cases import case
from .of_options import SAVED, quick
from .of_studies import neurons

PACKAGES = (
    "generators",
    "loggers",
    "measures",
    "monitor",
    "neurons",
    "penalties",
    "plots",
    "readers",
    "report",
    "transforms",
)


@case("surface/names")
def _names() -> dict[str, Names]:
    found = {"invariscope": Names(dir(iv))}
    for package in (*PACKAGES, "weights", "zoo"):
        found[package] = Names(getattr(getattr(iv, package), "__all__", ()))
    return found


@case("surface/registries")
def _registries() -> dict[str, Names]:
    return {
        "measures": Names(iv.list_measures()),
        "transforms": Names(reach.transform_classes()),
        "plots": Names(reach.plot_classes()),
        "networks": Names(iv.zoo.NETWORKS.names()),
        "data_sets": Names(map(str, iv.zoo.DATASETS)),
        "corruptions": Names(iv.zoo.CORRUPTIONS),
        "presets": Names(f"{name}: {one}" for name, known in reach.presets().items() for one in known),
    }


@case("surface/options")
def _options() -> dict[str, Names]:
    """The options of every measure, transform, plot and study."""
    classes = reach.measure_classes() | {f"{k}_": v for k, v in reach.transform_classes().items()}
    found = {name: Names(reach.parameters(one)) for name, one in classes.items()}
    found |= {
        f"plot_{name}": Names(reach.parameters(one.prepare)) for name, one in reach.plot_classes().items()
    }
    studies = (
        "measure",
        "stability_curve",
        "worst_element",
        "lie_derivative",
        "neuron_stability",
        "illustrate",
    )
    studies += (
        "local_decomposition",
        "compare",
        "Monitor",
        "assert_invariant",
        "assert_equivariant",
        "calibrated",
    )
    return found | {name: Names(reach.parameters(getattr(iv, name))) for name in studies}


@case("surface/command-line")
def _command_line() -> dict[str, Names]:
    return _commands(typer.main.get_command(reach.command_line()), "invariscope")


def _commands(command: Any, name: str) -> dict[str, Names]:
    found = {name.replace(" ", "_").replace("-", "_"): Names(_written(one) for one in command.params)}
    for inner, one in getattr(command, "commands", {}).items():
        found |= _commands(one, f"{name} {inner}")
    return found


def _written(parameter: Any) -> str:
    """The spellings of an option, or the place of an argument, and what it takes."""
    spelled = "/".join([*parameter.opts, *parameter.secondary_opts])
    traits = [
        name for name in ("required", "multiple", "is_flag", "metavar") if getattr(parameter, name, None)
    ]
    return " ".join([spelled, *(f"{name}={getattr(parameter, name)}" for name in traits)])


@case("surface/columns")
def _columns() -> dict[str, Names]:
    result = neurons()
    return {
        "table": Names(result.table.columns),
        "curves": Names(result.curves.columns),
        "baseline": Names(result.baseline.columns),
        "cautions": Names(result.cautions.columns),
        "notes": Names(result.notes.columns),
        "compare": Names(iv.compare(quick(), quick()).columns),
    }


@case("surface/saved-keys")
def _saved_keys() -> dict[str, Names]:
    """The upper levels of result.json."""
    with tempfile.TemporaryDirectory() as folder:
        saved = quick(by_class=True, baseline="random", draws=2).save(Path(folder) / "run")
        document = json.loads((saved / "result.json").read_text(encoding="utf-8"))
    provenance = document["provenance"]
    found = {"top": Names(document), "provenance": Names(provenance)}
    found |= {f"provenance_{name}": Names(one) for name, one in provenance.items() if isinstance(one, dict)}
    return found | {name: Names(document[name][0]) for name in ("rows", "curves", "baseline")}


@case("surface/explained")
def _explained() -> list[float]:
    """Every measure and registry entry is explained in some words."""
    return [float(len(iv.explain(name)) > 100) for name in sorted(iv.list_measures())]


@case("saved/result")
def _loaded() -> iv.Result:
    """The result that this version saved."""
    return iv.load(SAVED / "result")
