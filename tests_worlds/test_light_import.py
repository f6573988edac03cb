"""Finding the reader of a model imports no framework that the model does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = """
import sys
from torch import nn
from invariscope.readers import as_reader
as_reader(nn.Linear(2, 2)), as_reader(lambda x: {"x": x})
print(sorted({"keras", "tensorflow", "jax", "flax", "onnx", "onnxruntime"} & sys.modules.keys()))
"""


def imported(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_readers_of_torch_and_callables_import_no_framework():
    assert imported(ASK) == "[]"


@pytest.mark.parametrize("package", ["jax", "onnx"])
def test_the_check_sees_an_import(package):
    assert package in imported(f"import {package}\n{ASK}")
