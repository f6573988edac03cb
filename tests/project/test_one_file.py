"""A measure and a transform are one new file each, and the files that CONTRIBUTING.md shows are such files.

A copy of the project gets the two files and nothing else; everything is then asked for in new processes.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from marked_pages import ROOT, files_of

COPIED = (
    "src",
    "docs",
    "examples",
    "benchmarks/results/coming_from",
    "conftest.py",
    "tests/unseeded_draws.py",
    "tests/measures",
    "tests/transforms",
    "pyproject.toml",
    "mkdocs.yml",
)
COPIED_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "AGENTS.md")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project with the two files put in place."""
    folder = tmp_path_factory.mktemp("project")
    for name in (*COPIED, *COPIED_PAGES):
        whole = ROOT / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if whole.is_dir() else shutil.copy2)(whole, folder / name)
    for name, content in files_of(ROOT / "CONTRIBUTING.md").items():
        assert not (folder / name).exists()
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def site(project) -> Path:
    """The documentation of that project, built strictly and without a network."""
    run(project, "mkdocs", "build", "--strict", "--quiet")
    return project / "site"


ASK = """
import sys
from typer.testing import CliRunner
from invariscope.cli.app import app
for command in sys.argv[1:]:
    done = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    print(done.stdout, end=chr(0))
"""


@pytest.fixture(scope="module")
def said(project) -> dict[str, str]:
    """What commands say of the two files, by command; all in one new process."""
    (project / "ask.py").write_text(ASK)
    commands = ("list measures", "list transforms", "explain orbit_share")
    return dict(zip(commands, run(project, "ask", *commands).split(chr(0)), strict=False))


def run(project: Path, *arguments: str) -> str:
    """The output of `python -m ...` with the copied package; it must succeed."""
    settings = {"PYTHONPATH": str(project / "src"), "NO_MKDOCS_2_WARNING": "1", "COLUMNS": "200"}
    # Nobody answers there: whatever wants the network fails, and with it the test.
    settings |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{arguments}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_contributing_shows_a_measure_and_a_transform_in_one_file_each():
    folders = [Path(name).parent.name for name in files_of(ROOT / "CONTRIBUTING.md")]
    assert folders == ["measures", "transforms"]


def test_a_measure_costs_at_most_sixty_lines_of_code_and_six_concepts():
    (source,) = (text for name, text in files_of(ROOT / "CONTRIBUTING.md").items() if "measures" in name)
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("invariscope")]
    assert sum(len(node.names) for node in ours) <= 6
    assert lines_of_code(source) <= 60


def test_a_transform_costs_at_most_forty_lines_of_code_and_six_methods():
    (source,) = (text for name, text in files_of(ROOT / "CONTRIBUTING.md").items() if "transforms" in name)
    (family,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    assert sum(isinstance(node, ast.FunctionDef) for node in family.body) <= 6
    assert lines_of_code(source) <= 40


def lines_of_code(source: str) -> int:
    """Lines of the source without blank ones, docstrings and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return len(ast.unparse(tree).split("\n")) - ast.unparse(tree).split("\n").count("")


def test_the_count_sees_code_alone():
    assert lines_of_code('"""Text."""\n\nx = 1  # why\n\ndef f():\n    """Text."""\n    return x\n') == 3


def test_the_new_measure_is_listed(said):
    assert "orbit_share" in said["list measures"]


def test_the_new_transform_is_listed(said):
    assert "negation" in said["list transforms"]


def test_the_new_measure_is_explained(said):
    explained = said["explain orbit_share"]
    assert "response that is due to the transformation" in " ".join(explained.split())
    assert "not relative to other samples" in " ".join(explained.split())


def test_the_shared_tests_take_both_up_and_they_pass(project):
    suites = ("tests/measures/test_every_measure.py", "tests/transforms/test_transform_laws.py")
    said = run(
        project,
        "pytest",
        *("-v", "-p", "no:cacheprovider", "-k", "orbit_share or negation"),
        *suites,
        *files_of(ROOT / "CONTRIBUTING.md"),
    )
    for name in ("OrbitShare", "Negation"):
        assert re.search(rf"::.*{name} PASSED", said), f"the doctest of {name} did not run"
    assert len(re.findall(r"test_every_measure.*\[orbit_share.*PASSED", said)) >= 6
    assert len(re.findall(r"test_transform_laws.*\[negation.*PASSED", said)) >= 10


def test_the_documentation_builds_strictly_and_has_a_page_for_both(site):
    for page in ("measures/orbit_share.html", "transforms/negation.html"):
        assert page in (site / page).parent.joinpath("index.html").read_text() or (site / page).is_file()
        overview = (site / page).with_name("index.html").read_text()
        assert f'href="{Path(page).name}"' in overview
    measure = (site / "measures/orbit_share.html").read_text()
    assert "Variance along the orbit divided by the mean square, both summed over units." in measure
    assert "Share of a layer's mean square response that is due to the transformation." in measure
    assert "moved share of the response" in measure


def test_every_measure_transform_and_command_has_its_place_in_the_documentation(site):
    from invariscope.measures.base import MEASURES
    from invariscope.transforms.base import TRANSFORMS

    for kind, registry in (("measures", MEASURES), ("transforms", TRANSFORMS)):
        assert {file.stem for file in (site / kind).glob("*.html")} >= {"index", *registry.names()}
    commands = (site / "command_line.html").read_text()
    for name in ("demo", "train", "measure", "report", "compare", "list", "explain"):
        assert f"invariscope {name}" in commands


def test_every_plot_has_a_page_in_the_gallery_with_its_figure(site):
    from invariscope.plots import PLOTS

    overview = (site / "gallery/index.html").read_text()
    for name in PLOTS.names():
        assert f'src="{name}.png"' in overview
        assert f'src="{name}.png"' in (site / f"gallery/{name}.html").read_text()
        assert (site / f"gallery/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_blocks_of_the_tutorial_were_run_and_their_figures_and_report_are_shown(site):
    tutorial = (site / "tutorial.html").read_text()
    figures = re.findall(r'src="(tutorial-\d+\.png)"', tutorial)
    assert len(figures) == (ROOT / "docs/tutorial.md").read_text().count('\niv.plot("')
    assert all((site / figure).is_file() for figure in figures)
    assert 'src="tutorial-report.html"' in (site / "index.html").read_text()
    assert "<title>" in (site / "tutorial-report.html").read_text()


def test_no_page_still_has_a_placeholder(site):
    for file in site.rglob("*.html"):
        assert re.findall(r"<!-- (?:show|gallery|presets)\b.*?-->", file.read_text()) == [], file.name


def test_formulas_are_drawn_without_a_script_and_nothing_is_left_in_another_notation(site):
    reports = {*site.rglob("*-report.html")}  # with the scripts of their charts
    pages = {file: file.read_text() for file in {*site.rglob("*.html")} - reports}
    for name in ("normalized_variance", "orbit_share"):
        assert "<math" in pages[site / f"measures/{name}.html"]
    for file, text in pages.items():
        shown = re.sub(r"<(code|pre|title)\b.*?</\1>", "", text, flags=re.S)
        for left in (".. math::", ":class:", "$$", 'class="arithmatex"', "&gt;&gt;&gt;"):
            assert left not in shown, f"{file.name}: {left}"


def test_the_site_fetches_nothing_from_elsewhere(site):
    for file in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|iframe|link[^>]*stylesheet)[^>]*(?:src|href)="(\w+:)?//', file.read_text()
        )
        assert fetched == [], file.name
