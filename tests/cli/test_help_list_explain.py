"""What the command line says of itself and of the registries."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields

import pytest
import typer

import invariscope
from invariscope.cli.app import app
from invariscope.cli.commands.measure import measure
from invariscope.cli.docstrings import documented, plain_math
from invariscope.engine.options import Options
from invariscope.measures.base import MEASURES, Measure
from invariscope.plots import PLOTS
from invariscope.transforms.base import TRANSFORMS
from invariscope.zoo import DATASETS, NETWORKS
from project.marked_pages import ROOT

MARKUP = re.compile(r"\.\. math|\\[a-z]|>>>|:[a-z]+:|`")
COMMANDS = ["demo", "train", "measure", "report", "serve", "plot", "compare", "reproduce", "explain"]
LISTS = ["measures", "transforms", "models", "datasets", "plots", "recipes", "layers"]


def examples() -> list[list[str]]:
    """The words of every example in the help of every command."""
    group = typer.main.get_command(app)
    texts = [inspect.cleandoc(group.commands[name].help or "") for name in COMMANDS]
    lines = re.findall(r"^    (invariscope [^\n\\]*(?:\\\n[^\n\\]*)*)", "\n".join(texts), re.M)
    return [shlex.split(line.replace("\\\n", " "))[1:] for line in lines]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_has_examples(command, invoke):
    done = invoke(command, "--help")
    assert done.exit_code == 0
    assert f"invariscope {command} " in done.stdout.split("Examples:")[1]


def test_every_example_in_the_help_is_a_command_with_these_options():
    group = typer.main.get_command(app)
    shown = examples()
    assert {words[0] for words in shown} == set(COMMANDS)
    for command, *rest in shown:
        group.commands[command].make_context(command, list(rest))


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], []])
def test_an_overview_names_every_command(arguments, invoke):
    said = invoke(*arguments).output
    assert all(name in said for name in (LISTS if arguments[:1] == ["list"] else [*COMMANDS, "list"]))


def test_the_version_is_shown(invoke):
    assert invoke("--version").stdout == f"invariscope {invariscope.__version__}\n"


# Arrays with an entry per sample, functions and objects cannot be written on a command line.
IN_PYTHON = ("ids", "clusters", "labels", "preprocess", "call", "pool")
ON_A_LINE = [field for field in fields(Options) if field.name not in IN_PYTHON]


@pytest.mark.parametrize("field", ON_A_LINE, ids=lambda field: field.name)
def test_an_option_of_measure_has_the_name_and_default_of_the_python_call(field):
    assert inspect.signature(measure).parameters[field.name].default == field.default


def test_an_unknown_option_or_command_ends_with_code_2(invoke):
    assert invoke("measure", "--sampels", "3").exit_code == 2
    assert invoke("mesure").exit_code == 2


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("measures", MEASURES.names()),
        ("transforms", TRANSFORMS.names()),
        ("models", [f"zoo:{name}" for name in NETWORKS.names()]),
        ("datasets", list(DATASETS)),
        ("plots", PLOTS.names()),
    ],
)
def test_a_list_holds_every_name_and_a_few_words_on_each(kind, names, invoke):
    said = invoke("list", kind).stdout
    for name in names:
        assert re.search(rf"^{re.escape(name)} +\S+ \S+", said, re.M), name


def test_layers_are_listed_in_the_order_in_which_they_run(invoke):
    said = invoke("list", "layers", "net.py:make", "digits.npz").stdout
    assert re.findall(r"^(\d) +(\w+) +(\S.*\S|\S)", said, re.M) == [
        ("0", "Conv2d", "4 × 6 × 6"),
        ("1", "ReLU", "4 × 6 × 6"),
        ("2", "Flatten", "144  same values as 1"),
        ("3", "Linear", "3"),
    ]
    assert said.startswith("Layers of net:make (4)")


def test_layers_of_a_zoo_network_need_no_data(invoke):
    assert "log_softmax" in invoke("list", "layers", "zoo:simple_conv(filters=2)").stdout


@pytest.mark.parametrize("name", MEASURES.names())
def test_a_measure_is_explained_with_its_options(name, invoke):
    cls = MEASURES.get(name)
    said = " ".join(invoke("explain", name).stdout.split())
    assert " ".join(cls.summary.split()) in said
    assert f"{cls.__name__}(" in said
    assert not MARKUP.search(said)


@pytest.mark.parametrize("width", ["80", "140"])
@pytest.mark.parametrize("name", MEASURES.names())
def test_how_to_read_a_measure_is_prose_and_its_source_too(name, width, invoke, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    cls = MEASURES.get(name)
    said = " ".join(invoke("explain", name).stdout.split())
    sections = {"Reading": cls.reading, "Source": cls.source()}
    assert all(re.sub(r"[`*]", "", f"{title} {text}") in said for title, text in sections.items() if text), (
        said
    )


@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_a_transform_is_explained_with_the_ways_to_write_it(name, invoke):
    said = " ".join(invoke("explain", name).stdout.split())
    assert f"{TRANSFORMS.get(name).__name__}(" in said
    assert not MARKUP.search(said)


def test_names_in_a_text_are_plain_and_not_lost(invoke):
    said = " ".join(invoke("explain", "normalized_distance").stdout.split())
    assert "are as for TransformationDistance. With the squared" in said
    assert "those of NormalizedVariance, except" in said


def test_an_output_of_a_measure_and_a_class_name_are_understood(invoke):
    assert invoke("explain", "prediction.accuracy").stdout == invoke("explain", "Prediction").stdout


def test_an_unknown_name_is_answered_with_the_closest(fails):
    assert "Closest: 'normalized_variance'" in fails("explain", "normalised_variance")


def test_options_that_a_measure_takes_over_are_explained_too():
    from invariscope.measures.base import MEASURES

    text = documented(MEASURES.get("normalized_variance"), Measure)
    assert all(f"\n    {name}: " in text for name in ("norm", "spread", "pool", "preset"))


@pytest.mark.parametrize(
    ("latex", "plain"),
    [
        (r"\frac{a}{b + c}", "a / (b + c)"),
        (r"\hat p_j \ne \bar{u}", "p̂_j ≠ ū"),
        (r"x_{i+1}^{2}", "x_(i+1)^2"),
        (r"\arg\max_k f_k", "arg max_k f_k"),
        (r"\frac{\mathrm{Var}_j a_{ij}}{2}", "(Var_j a_ij) / 2"),
    ],
)
def test_formulas_are_set_in_ordinary_characters(latex, plain):
    assert plain_math(latex) == plain


@pytest.mark.parametrize(
    "arguments", [["--help"], ["measure", "--help"], ["demo", "--help"], ["list", "--help"], ["--version"]]
)
def test_help_loads_no_torch(arguments):
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print([n for n in ('torch', 'pandas', 'numba') if n in sys.modules]))\n"
        "from invariscope.cli import main\n"
        f"sys.argv[1:] = {arguments}\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("name", ["GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "TTY_COMPATIBLE"])
def test_an_environment_that_asks_for_colours_does_not_colour_what_tests_capture(name):
    code = (
        "import io, conftest, rich.console, typer.rich_utils\n"
        "print(typer.rich_utils.FORCE_TERMINAL, rich.console.Console(file=io.StringIO()).is_terminal)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, name: "1"}, capture_output=True, text=True
    )
    assert done.stdout == "None False\n", done.stderr
