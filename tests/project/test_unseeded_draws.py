"""No test, doctest or page draws at random without a seed, and the check finds the ways of doing so."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterator

import hypothesis
import pytest
from marked_pages import ROOT, script_of

pytest_plugins = ["pytester"]

# What starts from the operating system's noise if it is given no seed.
SEEDED_BY_ARGUMENT = {
    *("default_rng", "SeedSequence", "RandomState", "Random", "seed"),
    *("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"),
}
NEVER_SEEDED = {"os.urandom", "random.SystemRandom", "secrets", "SystemRandom"}
IMPORTS = "import random\n\nimport numpy as np\nimport pytest\nimport torch\n"


def fresh_noise(source: str) -> list[str]:
    """Calls that start from the operating system's noise, and properties tested at other places each time."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if _noise(call)]


def _noise(call: ast.Call) -> bool:
    name = _dotted(call.func)
    last = name.rpartition(".")[2]
    if last == "settings":
        return any(k.arg == "derandomize" and ast.unparse(k.value) != "True" for k in call.keywords)
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if last in SEEDED_BY_ARGUMENT and (not given or "None" in map(ast.unparse, given)):
        return True
    return any(name == never or name.startswith(f"{never}.") for never in NEVER_SEEDED)


def _dotted(function: ast.expr) -> str:
    """The name that is called, as `a[].b` if it is looked up and `.b` if what holds it is a result."""
    if isinstance(function, ast.Attribute):
        return f"{_dotted(function.value)}.{function.attr}"
    if isinstance(function, ast.Subscript):
        return f"{_dotted(function.value)}[]"
    return function.id if isinstance(function, ast.Name) else ""


def sources() -> Iterator[tuple[str, str]]:
    """Name and code of every test, example, source file, doctest and marked block of a page."""
    parser = doctest.DocTestParser()
    for folder in ("tests", "examples", "src"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield str(file), file.read_text()
    for file in sorted((ROOT / "src").rglob("*.py")):
        yield f"doctests of {file}", "".join(part.source for part in parser.get_examples(file.read_text()))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        yield str(page), script_of(page)


@pytest.mark.no_cover  # it reads the sources and runs nothing of them
def test_nothing_starts_from_the_noise_of_the_operating_system():
    found = {name: fresh_noise(source) for name, source in sources()}
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_properties_are_tested_at_the_same_places_each_time():
    assert hypothesis.settings().derandomize


@pytest.mark.parametrize(
    "line",
    [
        "np.random.default_rng()",
        "default_rng(None)",
        "np.random.seed()",
        "random.Random()",
        "np.random.Generator(np.random.PCG64())",
        "torch.Generator().seed()",
        "torch.seed()",
        "os.urandom(8)",
        "secrets.randbelow(3)",
        "@settings(max_examples=3, derandomize=False)\ndef test(): pass",
    ],
)
def test_every_kind_of_fresh_noise_is_found(line):
    assert fresh_noise(line) != []


@pytest.mark.parametrize(
    "line", ["np.random.default_rng(0)", "random.seed(0)", "random.Random(x)", "settings(max_examples=3)"]
)
def test_generators_with_a_seed_are_not_fresh_noise(line):
    assert fresh_noise(line) == []


@pytest.fixture
def outcome(pytester):
    """Runs a test file under the check that this suite runs under; counts what passed and failed."""

    def run(source: str, *options: str):
        pytester.makepyfile(IMPORTS + source)
        plugins = ("-p", "unseeded_draws", "-p", "no:invariscope", "-p", "no:cacheprovider", "-p", "no:cov")
        return pytester.runpytest_inprocess(*plugins, "--doctest-modules", *options)

    return run


LATER = """
def test_it():
    with torch.random.fork_rng():
        torch.manual_seed(0)
    torch.rand(3)
"""
FIXTURE = "@pytest.fixture(scope='module')\ndef shared():\n    {}\n\ndef test_it(shared): pass"


@pytest.mark.parametrize(
    ("generator", "source"),
    [
        ("torch", "def test_it(): torch.rand(3)"),
        ("torch", "def test_it(): torch.nn.Linear(2, 2)"),
        ("torch", "def test_it():\n    torch.rand(3)\n    torch.manual_seed(0)"),
        ("torch", LATER),
        ("torch", "def made():\n    '''\n    >>> drawn = torch.rand(3)\n    '''"),
        ("torch", "@pytest.fixture\ndef own(): torch.rand(3)\n\ndef test_it(own): pass"),
        ("torch", FIXTURE.format("torch.rand(3)")),
        ("torch", "DRAWN = torch.rand(3)\n\ndef test_it(): pass"),
        ("NumPy", "def test_it(): np.random.rand()"),
        ("Python", "def test_it(): random.random()"),
    ],
)
def test_an_unseeded_draw_is_found_wherever_it_is(outcome, generator, source):
    done = outcome(source)
    found = done.parseoutcomes()
    assert found.get("failed", 0) + found.get("errors", 0) == 1
    assert "passed" not in found
    done.stdout.fnmatch_lines([f"*draws from the global generator of {generator} before seeding it*"])


@pytest.mark.parametrize(
    "source",
    [
        "def test_it():\n    torch.manual_seed(0)\n    torch.rand(3)",
        "def test_it(): torch.rand(3, generator=torch.Generator().manual_seed(0))",
        "@pytest.fixture\ndef own(): torch.manual_seed(0)\n\ndef test_it(own): torch.rand(3)",
        "@pytest.mark.usefixtures('seeded')\ndef test_it(): torch.rand(3)",
        FIXTURE.format("torch.manual_seed(0)\n    return torch.rand(3)"),
        "torch.manual_seed(0)\nDRAWN = torch.rand(3)\n\ndef test_it(): pass",
    ],
)
def test_a_seeded_draw_passes(outcome, source):
    outcome(source).assert_outcomes(passed=1)


def test_the_seed_of_a_shared_fixture_does_not_serve_the_test(outcome):
    source = FIXTURE.replace("pass", "torch.rand(3)").format("torch.manual_seed(0)")
    outcome(source).assert_outcomes(failed=1)


def test_another_global_seed_is_another_state(outcome, pytester):
    source = "from pathlib import Path\n\ndef test_it(): Path('found').write_text(str(torch.initial_seed()))"
    found = []
    for seed in ("0", "0", "1"):
        outcome(source, "--global-seed", seed).assert_outcomes(passed=1)
        found.append((pytester.path / "found").read_text())
    assert found[0] == found[1] != found[2]
