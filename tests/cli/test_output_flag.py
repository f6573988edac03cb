"""`--output` names the part of the model's output that is its prediction."""

from __future__ import annotations

import pytest

import invariscope as iv

PARTS = """

class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = make()

    def forward(self, x):
        scores = self.inner(x)
        return {"features": scores[:, :2] * 2, "scores": scores}


def parts():
    return Parts()
"""


@pytest.fixture
def with_parts(workplace):
    """net.py with a model that returns two parts."""
    (workplace / "net.py").write_text((workplace / "net.py").read_text() + PARTS)
    return workplace


@pytest.mark.parametrize("output", ["scores", "1", "-1"])
def test_measure_reads_the_named_part(with_parts, measured, output):
    alone = iv.load(measured("alone", "-m", "consistency")).table["value"]
    part = measured("part", "-m", "consistency", "--output", output, model="net.py:parts")
    assert iv.load(part).table["value"].tolist() == alone.tolist()


def test_check_and_curve_accept_output_too(with_parts, invoke):
    limit = ("--min", "output:consistency:0", "--no-progress", "--output", "scores")
    done = invoke("check", "net.py:parts", "digits.npz", "-t", "quarter_turns", *limit)
    assert done.exit_code == 0, done.output
    few = ("--radii", "3", "--samples", "8", "--no-progress", "--output", "scores", "--out", "c")
    done = invoke("curve", "net.py:parts", "digits.npz", *few)
    assert done.exit_code == 0, done.output


def test_without_output_the_error_names_the_parts_in_one_line(with_parts, fails):
    said = fails("measure", "net.py:parts", "digits.npz", "-t", "quarter_turns", "-m", "consistency")
    assert "several tensors with one row per sample" in said
    assert "['scores'] has shape" in said
    assert "--output NAME" in said
