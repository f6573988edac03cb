"""The snippets of docs/frameworks.md run as they stand, and stay short."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

import invariscope as iv

PAGE = (Path(__file__).parents[1] / "docs" / "frameworks.md").read_text()
SNIPPETS = dict(re.findall(r"<!-- world: (\w+) -->\n```python\n(.*?)```", PAGE, re.S))
LINES = 5


def given(name: str) -> dict[str, Any]:
    """What the text around a snippet takes for granted."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).random((8, 1, 28, 28), np.float32)
    common = {
        "__name__": "__main__",
        "iv": iv,
        "np": np,
        "torch": torch,
        "images": images,
        "weights": np.ones((784, 4), np.float32),
    }
    own: dict[str, dict[str, Any]] = {
        "keras": {"keras": keras, "layers": keras.layers, "images": images.transpose(0, 2, 3, 1)},
        "jax": {"jax": jax, "jnp": jnp},
        "onnx": {"model": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "images": torch.from_numpy(images)},
        "export": {"model": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "images": torch.from_numpy(images)},
    }
    return common | own.get(name, {})


def flax_script(code: str) -> str:
    """The snippet with its method put into a class."""
    method, _, rest = code.partition("result =")
    head = "class Net(nnx.Module):\n    def __init__(self, rngs):\n"
    head += "        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)\n"
    head += "        self.dense = nnx.Linear(4, 2, rngs=rngs)\n\n"
    return f"{head}{textwrap.indent(method, '    ')}\nmodel = Net(nnx.Rngs(0))\nresult ={rest}"


def test_every_framework_has_a_snippet():
    assert set(SNIPPETS) == {"keras", "flax", "jax", "onnx", "export", "callable"}


@pytest.mark.filterwarnings("ignore")  # of the exporters, about their own code
@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_runs_and_is_short(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, names = SNIPPETS[name], given(name)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= LINES
    if name == "flax":
        code, names = (
            flax_script(code),
            {**names, "nnx": nnx, "images": names["images"].transpose(0, 2, 3, 1)},
        )
    exec(compile(code, name, "exec"), names)
    assert len(names["result"].table) >= 2
