"""Frameworks that are not installed: the error names the extra."""

from __future__ import annotations

import sys

import pytest
import torch

import invariscope as iv


@pytest.mark.parametrize(
    ("file", "package", "extra"), [("net.onnx", "onnx", "onnx"), ("net.keras", "keras", "keras")]
)
def test_a_file_whose_framework_is_missing_names_the_extra(file, package, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(ImportError, match=rf"pip install 'invariscope\[{extra}\]'"):
        iv.measure(tmp_path / file, torch.ones(4, 3), [torch.clone, torch.neg])
