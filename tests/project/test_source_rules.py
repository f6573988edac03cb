"""Rules that hold for every source file, and versions that agree."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest
from marked_pages import ROOT

import invariscope

# They read the package and run nothing of it.
pytestmark = pytest.mark.no_cover

PACKAGE = ROOT / "src" / "invariscope"
FILES = [pytest.param(file, id=str(file.relative_to(PACKAGE))) for file in sorted(PACKAGE.rglob("*.py"))]
LONGEST = 500
# Modules and functions that rebuild objects by running what a file says.
PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "cloudpickle"}


def calls(source: str) -> list[tuple[str, ast.Call]]:
    """(dotted name, call) for every call in the source."""
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [(ast.unparse(node.func), node) for node in nodes]


def unsafe_loads(source: str) -> list[str]:
    """Imports and calls that may rebuild whatever objects a file asks for."""
    tree = ast.parse(source)
    found = [name for name, call in calls(source) if _may_unpickle(name, call)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            found.append(f"from {node.module}")
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in PICKLES - {"pickle"}]
    used = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    harmless = ["pickle.UnpicklingError"] * len(used) + _restricted(tree)
    return found + [name for name in used if name.startswith("pickle.") and not _taken(harmless, name)]


def _restricted(tree: ast.Module) -> list[str]:
    """`pickle.Unpickler`, once for every subclass that decides itself which objects may be made."""
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    bases = [name for node in classes if _decides(node) for name in map(ast.unparse, node.bases)]
    return [name for name in bases if name == "pickle.Unpickler"]


def _decides(node: ast.ClassDef) -> bool:
    return any(isinstance(part, ast.FunctionDef) and part.name == "find_class" for part in node.body)


def _taken(names: list[str], name: str) -> bool:
    return name in names and names.remove(name) is None


def _may_unpickle(name: str, call: ast.Call) -> bool:
    said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name == "torch.load":
        return said.get("weights_only") != "True"
    if name == "np.load":
        return said.get("allow_pickle", "False") != "False"
    return name.endswith(("read_pickle", "load_from_pickle"))


@pytest.mark.parametrize("file", FILES)
def test_no_source_file_is_longer_than_can_be_read_at_once(file):
    assert len(file.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("file", FILES)
def test_the_library_does_not_print(file):
    if file.relative_to(PACKAGE).parts[0] != "cli":
        assert [name for name, _ in calls(file.read_text()) if name == "print"] == []


@pytest.mark.parametrize("file", FILES)
def test_nothing_in_the_package_unpickles_a_file(file):
    assert unsafe_loads(file.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle\npickle.load(file)",
        "import pickle\nclass Loose(pickle.Unpickler): pass",
        "from pickle import loads",
        "from joblib import load",
        "import dill",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
    ],
)
def test_the_check_sees_every_way_of_unpickling(line):
    assert unsafe_loads(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True)\nnp.load(path)\njson.load(file)",
        "try: pass\nexcept (pickle.UnpicklingError, pickle.UnpicklingError): pass",
        "class Strict(pickle.Unpickler):\n    def find_class(self, module, name): raise ValueError",
    ],
)
def test_safe_ways_of_loading_pass_the_check(line):
    assert unsafe_loads(line) == []


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited is not None
    assert invariscope.__version__ == project == cited[1].strip("\"'")
    assert re.search(rf"^## {re.escape(project)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)
