"""`invariscope plot` draws any registered plot of saved runs into a file."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from invariscope.results.storage import load

# The sample results that the plots are tested with.
sys.path.insert(0, str(Path(__file__).parents[1] / "plots"))
from sample_results import sample_result

from invariscope.plots import PLOTS

SMALL = {"conv1": (4, 6, 6), "conv2": (4, 3, 3), "out": (10,)}
HOSTILE = "a\x1b[2J\u202e\ud83d$\\frac{x}$"
TEXT = re.compile(r"<text[^>]*>([^<]*)</text>")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two runs that hold something for every plot, and one without an example orbit."""
    folder = tmp_path_factory.mktemp("saved")
    for k, name in enumerate(("plain", "rotated")):
        options = {"information": True, "maps": True, "stability": True}
        sample_result(name, layers=SMALL, seed=k, **options).save(folder / name)
    sample_result("bare", layers=SMALL, examples=False).save(folder / "bare")
    return folder


@pytest.fixture
def runs(workplace, saved):
    """The names of two runs in the working directory."""
    shutil.copytree(saved, workplace, dirs_exist_ok=True)
    return ["plain", "rotated"]


@pytest.mark.parametrize("name", PLOTS.names())
def test_every_plot_is_drawn_from_saved_runs(name, runs, invoke):
    done = invoke("plot", name, *runs, "--out", "made/figure.svg", "--theme", "paper", "--title", "Mine")
    assert done.exit_code == 0, done.output
    assert done.stdout == "made/figure.svg\n"
    assert "Mine" in TEXT.findall(Path("made/figure.svg").read_text())
    assert [path.name for path in Path("made").iterdir()] == ["figure.svg"]


@pytest.mark.parametrize(
    ("suffix", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG"), ("PNG", b"\x89PNG")]
)
def test_the_suffix_selects_the_format(suffix, start, runs, invoke):
    assert invoke("plot", "layer_profile", *runs, "--out", f"f.{suffix}").exit_code == 0
    written = Path(f"f.{suffix}").read_bytes()
    assert written.startswith(start)
    assert b"/Type3" not in written


def test_the_number_of_dots_per_inch_is_that_asked_for(runs, invoke):
    words = ["plot", "layer_profile", *runs, "--figsize", "3x2", "--dpi", "50", "--out", "f.png"]
    assert invoke(*words).exit_code == 0
    with Image.open("f.png") as image:
        assert image.size == (150, 100)


def test_looks_and_options_reach_the_figure(runs, invoke, monkeypatch):
    import invariscope as iv

    seen = {}
    inner = iv.plot
    monkeypatch.setattr(
        iv, "plot", lambda name, results, **options: seen.update(options) or inner(name, results, **options)
    )
    words = ["--figsize", "3.4x2.4", "--vmin", "0.1", "--vmax", "2", "--cmap", "magma", "--layers", "conv*"]
    words += ["-m", "transformation_variance"]
    assert invoke("plot", "unit_heatmap(sort=True, limit=3)", *runs, *words, "--out", "f.png").exit_code == 0
    assert seen == {
        **{"theme": "light", "figsize": (3.4, 2.4), "title": None, "vmin": 0.1, "vmax": 2.0},
        **{"cmap": "magma", "layers": ["conv*"], "measure": "transformation_variance"},
        **{"sort": True, "limit": 3},
    }


def test_a_figure_is_not_overwritten_unasked(runs, invoke, fails):
    Path("figure.pdf").write_text("precious")
    assert "already exists" in fails("plot", "layer_profile", "plain")
    assert Path("figure.pdf").read_text() == "precious"
    assert invoke("plot", "layer_profile", "plain", "--overwrite").exit_code == 0
    assert Path("figure.pdf").read_bytes().startswith(b"%PDF")


WRONG = [
    (["layer_profil", "plain"], r"unknown plot 'layer_profil'. Closest: 'layer_profile'"),
    (
        ["layer_profile(stratums='all')", "plain"],
        r"unknown option of 'layer_profile' 'stratums'. Closest: 'stratum'",
    ),
    (
        ["orbit_strip", "plain", "--layers", "conv*"],
        r"unknown option of 'orbit_strip' 'layers'.*Its options: none",
    ),
    (["layer_profile(", "plain"], r"cannot read the plot 'layer_profile\('"),
    (["layer_profile(layers=conv)", "plain"], r"'conv' is not allowed in a plot"),
    (["layer_profile(open('x'))", "plain"], r"is not allowed in a plot"),
    (["a.b()", "plain"], r"is not allowed in a plot"),
    (["layer_profile", "plain", "--measure", "cka"], r"unknown measure 'cka'"),
    (["layer_profile(stratum='dog')", "plain"], r"no rows of 'normalized_variance' for stratum 'dog'"),
    (
        ["layer_profile", "plain", "--layers", "fc*"],
        r"no layer matches \['fc\*'\]; the layers are conv1, conv2, out",
    ),
    (["orbit_strip", "bare"], r"the result has no example orbit"),
    (["layer_profile", "nowhere"], r"no result.json in nowhere"),
    (["layer_profile", "plain", "--out", "f.docx"], r"'.docx', so its format is unknown.*pdf, .*svg"),
    (["layer_profile", "plain", "--out", "f.pgn"], r"Closest: .png\."),
    (["layer_profile", "plain", "--out", "f"], r"no suffix, so its format is unknown"),
    (["layer_profile", "plain", "--figsize", "wide"], r"--figsize must be WIDTHxHEIGHT.*got 'wide'"),
    (["layer_profile", "plain", "--figsize", "0x3"], r"figsize= must be \(width, height\)"),
    (["layer_profile", "plain", "--dpi", "1"], r"--dpi must be from 20 to 2400; got 1"),
    (["layer_profile", "plain", "--theme", "drak"], r"unknown theme 'drak'. Closest: 'dark'"),
    (["layer_profile", "plain", "--cmap", "virids"], r"unknown colour map 'virids'. Closest: 'viridis'"),
    (["layer_profile", "plain", "--vmin", "2", "--vmax", "1"], r"vmin= must be less than vmax="),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_cannot_be_drawn_is_one_line_and_writes_nothing(words, said, runs, fails):
    before = sorted(path.name for path in Path().iterdir())
    assert re.search(said, fails("plot", *words))
    assert sorted(path.name for path in Path().iterdir()) == before


def test_a_format_that_needs_a_missing_program_is_one_line(runs, fails, monkeypatch):
    from matplotlib.figure import Figure

    def missing(*_, **__):
        raise RuntimeError("xelatex not found")

    monkeypatch.setattr(Figure, "savefig", missing)
    assert "cannot write pgf on this computer: xelatex not found" in fails(
        "plot", "layer_profile", "plain", "--out", "f.pgf"
    )
    assert not Path("f.pgf").exists()


def test_hostile_names_reach_the_file_as_text(workplace, invoke):
    layers = {HOSTILE.replace("\ud83d", ""): (4, 6, 6), "out": (10,)}
    sample_result(HOSTILE, layers=layers, curves=False).save("run")
    assert load("run").name == HOSTILE
    done = invoke("plot", "unit_heatmap", "run", "--title", "t\ud83d\x07", "--out", "f.svg")
    assert done.exit_code == 0, done.output
    shown = " ".join(TEXT.findall(Path("f.svg").read_text(encoding="utf-8")))
    assert "a\\x1b[2J\\u202e$" in shown  # shortened to the width
    assert "t\\ud83d\\x07" in shown


def test_the_listing_and_the_explanation_lead_to_the_command(invoke):
    assert "invariscope plot NAME RUN" in invoke("list", "plots").stderr
    said = invoke("explain", "unit_heatmap").stdout
    assert "unit_heatmap, a plot" in said
    assert "sort" in said
    assert "invariscope plot 'unit_heatmap(option=value)'" in said
