"""The shell completes names of measures, transforms, plots and layers."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from invariscope.cli.app import app


def completed(monkeypatch, *words: str) -> list[str]:
    """What bash is told for these words, the last of which is incomplete."""
    monkeypatch.setenv("_INVARISCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["invariscope", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    return CliRunner().invoke(app, prog_name="invariscope").stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("meas",), ["measure"]),
        (("measure", "net", "data", "-t", "quarter"), ["quarter_turns"]),
        (("measure", "net", "data", "-m", "equivariance_p"), ["equivariance_psnr"]),
        (("measure", "net", "data", "-m", "cka,equivariance_p"), ["cka,equivariance_psnr"]),
        (("plot", "layer_prof"), ["layer_profile"]),
        (("measure", "net", "data", "--siz"), ["--size"]),
        (("measure", "net.py:make", "data", "--layers", "conv"), []),
    ],
)
def test_names_are_completed(words, expected, monkeypatch):
    assert completed(monkeypatch, *words) == expected


@pytest.mark.parametrize("model", ["zoo:lenet", "zoo : lenet"])
def test_layers_of_networks_of_this_package_are_completed(model, monkeypatch):
    found = completed(monkeypatch, "measure", *model.split(), "data", "--layers", "c")
    assert found == ["conv1", "conv2"]
    assert completed(monkeypatch, "measure", "zoo:nothing", "data", "--layers", "c") == []
