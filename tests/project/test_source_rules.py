"""Rules that hold for every source file."""

from __future__ import annotations

import ast

import pytest
from marked_pages import ROOT

# They read the package and run nothing of it.
pytestmark = pytest.mark.no_cover

PACKAGE = ROOT / "src" / "invariscope"
SOURCES = {str(file.relative_to(PACKAGE)): file.read_text() for file in sorted(PACKAGE.rglob("*.py"))}
LONGEST = 500
# Modules and functions that rebuild objects by running what a file says.
PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "cloudpickle"}


def calls(source: str) -> list[tuple[str, ast.Call]]:
    """(dotted name, call) for every call in the source."""
    return _calls(ast.parse(source))


def _calls(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    return [(_dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _dotted(node: ast.expr) -> str:
    """`a.b` if the expression is that, and `.b` for an attribute of anything else than a name."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe_loads(source: str) -> list[str]:
    """Imports and calls that may rebuild whatever objects a file asks for."""
    tree = ast.parse(source)
    found = [name for name, call in _calls(tree) if _may_unpickle(name, call)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            found.append(f"from {node.module}")
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in PICKLES - {"pickle"}]
    used = [_dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
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


def test_no_source_file_is_longer_than_can_be_read_at_once():
    lengths = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_the_library_does_not_print():
    library = {name: source for name, source in SOURCES.items() if not name.startswith("cli/")}
    found = {name: [call for call, _ in calls(source) if call == "print"] for name, source in library.items()}
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_nothing_in_the_package_unpickles_a_file():
    found = {name: unsafe_loads(source) for name, source in SOURCES.items()}
    assert {name: calls for name, calls in found.items() if calls} == {}


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
