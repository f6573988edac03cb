"""The plugin of pytest: its options, its summary, and what it costs those who do not use it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import invariscope as iv
import torch

IMAGES = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_moves():
    iv.assert_equivariant(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1)), IMAGES, iv.QuarterTurns())


def test_stays(invariscope_seed):
    assert invariscope_seed == {seed}
    torch.manual_seed(0)
    iv.assert_invariant(torch.nn.Sequential(torch.nn.Flatten()), IMAGES, iv.QuarterTurns())
"""


@pytest.fixture
def run(pytester):
    """Runs the tests above in a process of their own, with the plugin and nothing else of ours."""

    def outcome(*options, seed=0):
        pytester.makepyfile(TESTS.format(seed=seed))
        plugin = ("-p", "no:invariscope", "-p", "invariscope.pytest_plugin", "-p", "no:cacheprovider")
        return pytester.runpytest_subprocess(*plugin, *options)

    return outcome


def test_every_assertion_has_a_line_below_the_tests(run):
    done = run()
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*= symmetry (invariscope) =*",
            "*::test_moves: Sequential equivariant (1 layer): holds; 0 *",
            "*::test_stays: Sequential invariant (1 layer): broken at output; output *",
        ]
    )
    done.stdout.fnmatch_lines(["E *replay *seed=0, or pytest --invariscope-seed 0;*"])


def test_the_options_reach_the_assertions_and_the_lines_the_junit_file(run, pytester):
    done = run("--invariscope-seed", "7", "--invariscope-samples", "5", "--junitxml", "a.xml", seed=7)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["E *replay *seed=7, samples=5, or pytest --invariscope-seed 7 *"])
    assert (
        '<property name="invariscope" value="Sequential equivariant' in (pytester.path / "a.xml").read_text()
    )


FIXTURES = """
import invariscope as iv
import pytest
import torch

IMAGES = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def verdict():
    return iv.assert_limits(torch.nn.Flatten(), IMAGES, iv.QuarterTurns(), max={"*:normalized_variance": 9})


@pytest.fixture
def strict():
    iv.assert_limits(torch.nn.Flatten(), IMAGES, iv.QuarterTurns(), max={"*:normalized_variance": 0})


def test_one(verdict):
    assert (verdict.seed, verdict.samples) == (7, 5)


def test_two(verdict):
    assert not verdict.broken


def test_three(strict):
    pass
"""


def test_assertions_in_fixtures_get_the_options_and_one_line_each(pytester):
    pytester.makepyfile(FIXTURES)
    plugin = ("-p", "no:invariscope", "-p", "invariscope.pytest_plugin", "-p", "no:cacheprovider")
    options = ("--invariscope-seed", "7", "--invariscope-samples", "5")
    done = pytester.runpytest_subprocess(*plugin, *options)
    done.assert_outcomes(passed=2, errors=1)
    lines = [line for line in done.outlines if "::test_" in line and " limits: " in line]
    assert [line.split(" ")[0].rpartition("::")[2] for line in lines] == ["test_one:", "test_three:"]
    assert "1 of 1 limits hold" in lines[0]
    assert "0 of 1 limits hold; Flatten: normalized_variance is" in lines[1]


def test_a_run_without_assertions_has_no_summary(pytester):
    pytester.makepyfile("def test_other():\n    import sys\n    assert 'torch' not in sys.modules\n")
    done = pytester.runpytest_subprocess("-p", "no:invariscope", "-p", "invariscope.pytest_plugin")
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("*symmetry (invariscope)*")


def test_the_plugin_loads_nothing_heavy():
    script = "import invariscope.pytest_plugin, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"torch", "numpy", "pandas", "matplotlib", "scipy", "numba"} == set()


def test_installing_the_package_installs_the_plugin():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"invariscope": "invariscope.pytest_plugin"}
