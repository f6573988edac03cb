"""Check an installed wheel on its own: `make test-wheel` runs this in an environment that holds nothing else.

Every step prints what it took. Nothing of the checkout is on the path.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

MOST_IMPORT_S = 0.2
FILES = (
    "__init__.pyi",
    "py.typed",
    "report/template.html",
    "report/style.css",
    "report/script/90-start.js",
    "serve/index.html",
    "lab/campaign.toml",
    "lab/recipes/quiroga2019.toml",
    "zoo/data/mnist_subset/LICENSE.md",
    "zoo/data/mnist_subset/train-images-idx3-ubyte.gz",
)
FIRST_RESULT = """\
import torch, torch.nn as nn, invariscope as iv
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7200, 10))
images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
iv.measure(model, images, iv.QuarterTurns()).report("report.html")
"""
OWN_TEST = """\
import invariscope as iv
import torch


def test_turns_of_a_pixelwise_model(invariscope_seed):
    images = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(invariscope_seed))
    iv.assert_equivariant(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1)), images, iv.QuarterTurns())
"""
SMALL_DEMO = ("--filters=2", "--plain-epochs=1", "--rotated-epochs=1", "--training-digits=64", "--digits=64")


def run(*command: str, code: int = 0) -> str:
    """Return the output of a command in the current folder, and print how long it took."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    shown = " ".join(Path(word).name if "/" in word else word for word in command)
    print(f"{time.perf_counter() - start:6.1f} s  {shown[:90].splitlines()[0]}", flush=True)
    if done.returncode != code:
        sys.exit(f"{shown} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def expect(holds: bool, wrong: str) -> None:
    """End with a message unless something holds; unlike an assertion, also under `python -O`."""
    if not holds:
        sys.exit(wrong)


def check_files() -> None:
    """The package comes from site-packages and holds its data, its licence and its entry points."""
    found = importlib.util.find_spec("invariscope")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    expect(
        package.parent == Path(sysconfig.get_path("purelib")), f"{package} is not what the wheel installed"
    )
    for name in FILES:
        expect((package / name).is_file(), f"the wheel lacks {name}")
    installed = importlib.metadata.distribution("invariscope")
    listed = [str(file) for file in installed.files or ()]
    expect(any(name.endswith("licenses/LICENSE") for name in listed), "the wheel lacks its licence")
    strangers = [name for name in listed if name.split("/")[0].startswith(("tests", "docs", "benchmarks"))]
    expect(not strangers, f"the wheel installs {strangers[:3]}")


def check_import_time() -> None:
    """The package is imported within the limit, in the fastest of five fresh interpreters."""
    code = "import time; s = time.perf_counter(); import invariscope; print(time.perf_counter() - s)"
    fastest = min(float(run(sys.executable, "-c", code)) for _ in range(5))
    expect(fastest <= MOST_IMPORT_S, f"import takes {fastest:.3f} s, more than {MOST_IMPORT_S} s")
    print(f"         import invariscope: {fastest:.3f} s")


def main() -> None:
    """Run all checks in a temporary folder."""
    command = str(Path(sysconfig.get_path("scripts")) / "invariscope")
    version = importlib.metadata.version("invariscope")
    check_files()
    check_import_time()
    expect(
        run(command, "--version").strip() == f"invariscope {version}", "--version differs from the metadata"
    )
    for listed, name in (("measures", "normalized_variance"), ("recipes", "quiroga2019")):
        expect(name in run(command, "list", listed), f"`invariscope list {listed}` lacks {name}")
    expect(len(FIRST_RESULT.splitlines()) <= 5, "the first result takes more than five lines")
    run(sys.executable, "-c", FIRST_RESULT)
    expect(Path("report.html").stat().st_size > 100_000, "the report of the first result is nearly empty")
    run(command, "demo", "--out", "demo", *SMALL_DEMO)
    expect(Path("demo/report.html").is_file(), "the demonstration left no report")
    Path("test_own.py").write_text(OWN_TEST)
    run(sys.executable, "-m", "pytest", "-q", "--invariscope-seed", "3", "test_own.py")
    print(f"invariscope {version} works as installed")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        main()
