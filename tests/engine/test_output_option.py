"""`output=` selects the prediction in every entry point; numbers never depend on the batch size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope import penalties
from invariscope.readers import ChannelMean

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.rand(24, 1, 8, 8, generator=GENERATOR), torch.arange(24) % 3
TURNS = iv.QuarterTurns()


class Head(nn.Module):
    """Scores of three classes, alone, or behind features and a loss."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.linear = nn.Conv2d(1, 2, 3), nn.Linear(72, 3)
        self.alone = alone

    def forward(self, x: Tensor) -> Any:
        features = torch.tanh(self.conv(x)).flatten(1)
        scores = self.linear(features)
        return scores if self.alone else {"loss": scores.sum(), "features": features, "scores": scores}


class Detector(nn.Module):
    """A list with a dictionary for each image, boxes first; as many boxes for every image."""

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [{"boxes": image.topk(2).values, "scores": image.flatten()[:5]} for image in x[:, 0]]


ALONE, DRESSED = Head(alone=True), Head(alone=False)
OF_OUTPUT = ["consistency", "prediction", "twirl", iv.EquivarianceDeviation(kind="output")]
CHOICES = ["scores", 2, lambda found: found["scores"]]


@pytest.mark.parametrize("output", CHOICES, ids=["name", "number", "function"])
def test_the_numbers_are_those_of_the_part_alone(output):
    options = {"measures": OF_OUTPUT, "progress": False}
    whole = iv.measure(ALONE, (X, Y), TURNS, **options)
    part = iv.measure(DRESSED, (X, Y), TURNS, output=output, **options)
    np.testing.assert_array_equal(whole.table["value"], part.table["value"])
    said = "predictions are read from the model's output"
    assert [note for note in part.provenance["notes"] if note.startswith(said)]
    assert not [note for note in whole.provenance["notes"] if note.startswith("predictions are read from")]
    assert "output" not in whole.provenance["options"]
    assert str(part.provenance["options"]["output"]).split()[0].endswith(("scores", "2", "<lambda>"))


def test_the_provenance_notes_which_part_was_inferred():
    class Loss(Head):
        def forward(self, x: Tensor) -> Any:
            found = super().forward(x)
            return found["loss"], found["scores"]

    result = iv.measure(Loss(alone=False), X, TURNS, measures=["consistency"], progress=False)
    said = "predictions are read from the model's output[1], (3,) per sample; "
    assert said + "not [0] (no axis follows the batch size)" in result.provenance["notes"]


@pytest.mark.parametrize("measure", ["consistency", "prediction"])
@pytest.mark.parametrize("batch_size", ["auto", 4, 8, 32])
def test_a_detector_is_refused_at_every_batch_size(measure, batch_size):
    options = {"measures": [measure], "batch_size": batch_size, "progress": False}
    with pytest.raises(ValueError, match=r"\[0\]\['boxes'\] has shape \(8, 2\) for 3 inputs") as caught:
        iv.measure(Detector(), X, iv.Flip(), **options)
    assert "Pass output=" in str(caught.value)


def test_a_function_makes_a_detector_measurable_at_every_batch_size():
    def scores(found: list[dict[str, Tensor]]) -> Tensor:
        return torch.stack([image["scores"] for image in found])

    options = {"measures": ["consistency"], "output": scores, "progress": False}
    values = [
        iv.measure(Detector(), X, iv.Flip(), batch_size=size, **options).table["value"][0]
        for size in (4, 8, 48)
    ]
    kept = [image.flatten()[:5].argmax() == image.flip(1).flatten()[:5].argmax() for image in X[:, 0]]
    np.testing.assert_allclose(values, np.mean(kept))


def test_layers_are_measured_whatever_the_output_is():
    assert iv.measure(DRESSED, X, TURNS, progress=False).table["layer"].tolist()
    result = iv.measure(DRESSED, X, TURNS, layers="Head*", progress=False)
    assert result.table["layer"].tolist() == ["Head[features]", "Head[scores]"]


def test_assertions_accept_output():
    with pytest.raises(TypeError, match=r"several tensors .*: \['features'\] .*; \['scores'\]"):
        iv.assert_invariant(DRESSED, X, TURNS)
    for check in (iv.assert_invariant, iv.assert_equivariant):
        errors = []
        for model, own in ((ALONE, {}), (DRESSED, {"output": "scores"})):
            with pytest.raises(iv.SymmetryError) as caught:
                check(model, X, TURNS, **own)
            errors.append(caught.value.verdict.layers[-1].worst)
        assert errors[0] == errors[1]


def test_penalties_on_the_output_accept_output():
    own = {"kind": "output", "feature_action": None}
    penalty = penalties.EquivarianceDeviation(TURNS, output="scores", **own)
    value = penalty(DRESSED, X)
    assert value.item() == penalties.EquivarianceDeviation(TURNS, **own)(ALONE, X).item() > 0
    value.backward()
    assert DRESSED.linear.weight.grad is not None
    DRESSED.zero_grad()
    with pytest.raises(ValueError, match=r"several tensors .*: \['features'\] .*; \['scores'\]"):
        penalties.EquivarianceDeviation(TURNS, **own)(DRESSED, X)
    with pytest.raises(TypeError, match="output must be a name"):
        penalties.EquivarianceDeviation(TURNS, output=1.5, **own)


def test_penalties_refuse_an_output_whose_first_axis_does_not_hold_the_batch():
    penalty = penalties.EquivarianceDeviation(TURNS, kind="output")
    turned = iv.penalties.EquivarianceDeviation(TURNS, kind="output", output=lambda scores: scores.T)
    with pytest.raises(ValueError, match="its first axis does not hold the 96 inputs"):
        turned(ALONE, X)
    assert penalty(ALONE, X).item() > 0


def test_studies_accept_output():
    how = {"radii": 3, "samples": 8, "progress": False}
    curves = [
        iv.stability_curve(model, (X, Y), **own, **how).curves["value"]
        for model, own in ((ALONE, {}), (DRESSED, {"output": "scores"}))
    ]
    np.testing.assert_array_equal(*curves)
    derivatives = [
        iv.lie_derivative(model, X[:3], generators="rotation", layerwise=False, **own).table["value"][0]
        for model, own in ((ALONE, {}), (DRESSED, {"output": "scores"}))
    ]
    assert derivatives[0] == derivatives[1] > 0
    with pytest.raises(ValueError, match="several tensors"):
        iv.lie_derivative(DRESSED, X[:3])


def test_layerwise_lie_derivatives_read_an_output_with_the_batch_last():
    class Turned(Head):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x).T

    tables = [iv.lie_derivative(m, X[:3], generators="rotation").table for m in (ALONE, Turned(alone=True))]
    first, second = (t[t["layer"].isin(["output", "conv", "linear"])]["value"].to_numpy() for t in tables)
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_monitors_and_random_baselines_accept_output():
    monitor = iv.Monitor(X, TURNS, measures=["consistency"], output="scores")
    monitor(DRESSED, 0)
    assert len(monitor.table) > 0
    options = {"measures": ["consistency"], "baseline": "random", "draws": 2, "progress": False}
    assert len(iv.measure(DRESSED, X, TURNS, output="scores", **options).baseline)


def test_channel_means_accept_output():
    reader = ChannelMean(DRESSED, output="scores")
    whole = iv.measure(ALONE, X, TURNS, measures=["consistency"], progress=False)
    part = iv.measure(reader, X, TURNS, measures=["consistency"], progress=False)
    assert part.table["value"][0] == whole.table["value"][0]


def test_options_refuse_other_types():
    with pytest.raises(TypeError, match=r"output must be a name \('logits'\), an index \(1\) or a function"):
        iv.measure(ALONE, X, TURNS, output=["scores"], progress=False)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(lambda h: torch.complex(h, h), "complex64"), (lambda h: h.byte(), "uint8"), (lambda h: h > 0, "bool")],
    ids=["complex", "whole numbers", "truth values"],
)
def test_outputs_of_other_kinds_are_named_as_such(ending, kind):
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ending(x)

    with pytest.raises(ValueError, match=f"'Net': its values are {kind}, not real floating-point numbers"):
        iv.measure(Net(), X, TURNS, progress=False)
    with pytest.raises(ValueError, match=f"its values are {kind}"):
        iv.measure(Net(), X, TURNS, measures=["consistency"], progress=False)
    with pytest.raises(TypeError, match=f"its values are {kind}"):
        iv.assert_invariant(Net(), X, TURNS)


def test_a_model_that_only_views_its_input_is_read_as_a_whole():
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    result = iv.measure(Flat(), X, TURNS, progress=False)
    assert result.table[["layer", "units"]].values.tolist() == [["Flat", 64]]
