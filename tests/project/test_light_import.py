"""What `import invariscope` and the command line's help load."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "pandas", "matplotlib", "numba", "scipy", "bokeh", "numpy"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running the code."""
    script = f"{code}\nimport sys\nprint(' '.join(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import invariscope",
        "import invariscope; invariscope.__version__",
        "import invariscope; assert not hasattr(invariscope, '__wrapped__')",
    ],
)
def test_importing_the_package_loads_nothing_heavy(code):
    assert loaded_by(code) & HEAVY == set()


def test_the_check_sees_what_is_loaded():
    assert loaded_by("import numpy") & HEAVY == {"numpy"}


def test_help_of_the_command_line_loads_no_torch():
    code = "from invariscope.cli.app import app\nimport typer\ntyper.main.get_command(app)"
    assert loaded_by(code) & {"torch", "pandas", "matplotlib"} == set()


def test_every_public_name_is_found_where_it_is_said_to_live():
    code = "import invariscope as iv\nfor name in dir(iv): getattr(iv, name)"
    assert "torch" in loaded_by(code)
