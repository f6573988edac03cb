"""Imports point one way, from the command line down to the statistics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from marked_pages import ROOT

# They read the package and run nothing of it.
pytestmark = pytest.mark.no_cover

PACKAGE = ROOT / "src" / "invariscope"

# What may be loaded by importing a part. Everybody may import `common` and the bare package.
BELOW = {
    "": set(),
    "__main__": {"cli"},
    "common": set(),
    "unit_draw": set(),
    "block": {"unit_draw"},
    "intervals": set(),
    "results": {"intervals", "unit_draw"},
    "generators": set(),
    "actions": {"block"},
    "statistics": {"actions", "block", "generators"},
    "transforms": set(),
    "readers": {"unit_draw"},
    "anatomy": {"readers"},
    "measures": {"actions", "block", "generators", "intervals", "statistics", "unit_draw"},
    "catalog": {"measures", "transforms"},
    "weights": set(),
    "data": {"intervals", "statistics"},
    "variants": {"data", "readers", "transforms"},
    "engine": {
        "anatomy", "block", "data", "intervals", "measures", "readers", "results", "statistics", "transforms",
        "unit_draw", "variants",
    },
    "studies": {
        "anatomy", "data", "engine", "generators", "intervals", "measures", "readers", "results",
        "statistics", "transforms",
    },
    "loggers": {"data", "engine", "measures", "results", "statistics", "transforms"},
    "monitor": {"data", "engine", "loggers", "measures", "readers", "results", "transforms"},
    "penalties": {"actions", "block", "engine", "measures", "readers", "statistics", "transforms"},
    "plots": {"results"},
    "report": {"intervals", "plots", "results"},
    "serve": {"plots", "report", "results"},
    "zoo": {"transforms"},
    "checking": {
        "actions", "block", "catalog", "data", "engine", "measures", "readers", "results", "transforms",
    },
    "pytest_plugin": {"checking"},
    "lab": {"intervals", "plots", "results", "transforms", "weights", "zoo"},
    "demo": {"engine", "report", "results", "studies", "transforms", "zoo"},
    "cli": {"catalog", "plots"},
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules that are imported when the file is, `if TYPE_CHECKING:` aside."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif not isinstance(node, ast.FunctionDef) and not _for_types_only(node):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def _for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def part_of(file: Path) -> str:
    """The folder or module right below the package; "" is the package's own file."""
    first = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def wrong_imports(file: Path, source: str) -> list[str]:
    """Imports of the package's own parts that the table does not allow."""
    own = part_of(file)
    allowed = {own, "common", *BELOW[own]}
    found = (name.split(".") for name in imported(ast.parse(source)))
    parts = (names[1] for names in found if names[0] == "invariscope" and len(names) > 1)
    return sorted({part for part in parts if part in BELOW and part not in allowed})


def test_a_file_imports_only_what_stands_below_its_part():
    found = {str(file.relative_to(PACKAGE)): wrong_imports(file, file.read_text()) for file in FILES}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_only_the_command_line_and_named_doors_reach_the_lab():
    doors = {
        "catalog/listing.py",
        "plots/shared/base.py",
        "weights/__init__.py",
        "zoo/__init__.py",
        "zoo/catalogue.py",
    }
    found = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if part_of(file) not in {"cli", "lab"} and "invariscope.lab" in file.read_text()
    }
    assert found == doors


def test_every_part_has_its_place_in_the_table():
    assert {part_of(file) for file in FILES} == set(BELOW)


def test_the_table_itself_has_no_circle():
    placed: set[str] = set()
    while len(placed) < len(BELOW):
        ready = {part for part, below in BELOW.items() if part not in placed and below <= placed}
        assert ready, f"a circle among {sorted(set(BELOW) - placed)}"
        placed |= ready


def rooms_by_floor() -> list[set[str]]:
    """The parts in each line of the page's table of rooms, from the ground up."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.split("| package |")[1].split("\n\n")[0].splitlines()[2:]
    return [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table]


def test_the_architecture_page_lists_every_part_above_what_it_imports():
    floors = rooms_by_floor()
    assert set().union(*floors) == set(BELOW) - {"", "__main__"}
    for number, floor in enumerate(floors):
        lower = set().union(*floors[:number])
        assert {part: BELOW[part] - lower for part in floor if BELOW[part] - lower} == {}


def test_the_files_that_the_architecture_page_names_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    steps = page.split("| step |")[1].split("\n\n")[0]
    files = re.findall(r"`([\w/]+\.py)`", steps)
    assert len(files) == 11
    assert [name for name in files if not (PACKAGE / name).exists()] == []


@pytest.mark.parametrize(
    ("part", "line", "wrong"),
    [
        ("statistics", "from invariscope.measures.base import Measure", ["measures"]),
        ("plots", "try:\n    import invariscope.engine.api\nfinally:\n    pass", ["engine"]),
        ("transforms", "from invariscope import zoo", ["zoo"]),
        ("plots", "if TYPE_CHECKING:\n    import invariscope.engine.api", []),
        ("plots", "def late():\n    import invariscope.engine.api", []),
    ],
)
def test_the_check_sees_an_import_upwards_when_it_is_one(part, line, wrong):
    assert wrong_imports(PACKAGE / part / "new.py", line) == wrong
