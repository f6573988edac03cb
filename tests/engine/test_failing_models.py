"""Models that fail, cannot be copied or have no values: the error says which, where and what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import invariscope as iv

pytestmark = pytest.mark.usefixtures("seeded")

TURNS = iv.QuarterTurns()
IMAGES = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def refused(message, model, data=IMAGES, **options):
    with pytest.raises(ValueError, match=message):
        iv.measure(model, data, TURNS, progress=False, **options)


class Cast(nn.Module):
    """Holds its layer in a list, where nothing that converts the model finds it."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(36, 2)]

    def forward(self, x):
        return self.layers[0](x.flatten(1))


def test_a_model_that_fails_as_a_copy_is_told_what_made_the_copy():
    refused("was copied, which precision='float64' requires", model=Cast(), precision="float64")
    assert len(iv.measure(Cast(), IMAGES, TURNS, progress=False).table)


def test_a_model_whose_copy_is_not_a_module_cannot_be_copied():
    class Strange(Cast):
        def __deepcopy__(self, memo):
            return 42

    refused("copy.deepcopy.* returned int, not a module", model=Strange(), precision="float64")
    refused("copy.deepcopy.* returned int, not a module", model=Strange(), baseline="random")


def test_parameters_may_come_as_a_list():
    class Listed(nn.Sequential):
        def parameters(self, recurse=True):
            return list(super().parameters(recurse))

    model = Listed(nn.Conv2d(1, 2, 3))
    assert iv.measure(model, IMAGES, TURNS, progress=False).table["layer"].tolist() == ["0"]


def test_a_model_that_needs_more_than_its_inputs_is_to_be_wrapped():
    class Two(nn.Module):
        def forward(self, x, mask):
            return x * mask

    refused("missing 1 required positional argument: 'mask'. Models are called with", model=Two())


def test_a_model_without_values_on_the_meta_device_is_to_be_loaded():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(1, 2, 3))
    refused("'0.weight' is on the meta device and has no values", model=model)
    refused("'0.weight' is on the meta device", model=model, baseline="random")


class Picky(nn.Sequential):
    """Fails on an image with a bright corner, in one of its layers."""

    def forward(self, x):
        return super().forward(x) if x[:, 0, 0, 0].max() < 1 else self[1](x @ torch.ones(5, 5))


@pytest.mark.parametrize("as_callable", [False, True])
def test_a_failure_on_a_later_batch_names_the_batch(as_callable):
    images = IMAGES * 0.9
    images[17, 0, 0, 0] = 2
    model = Picky(nn.Conv2d(1, 2, 3), nn.ReLU())
    said = (
        r"failed on inputs of shape \(4, 1, 6, 6\) and dtype float32 \(one batch\): .* "
        r"It accepted batches of 2 and 3"
    )
    tried = model if not as_callable else lambda x: {"a": model(x).detach()}
    refused(said, model=tried, data=images, batch_size=4)


def test_an_error_of_the_measurement_is_not_taken_for_one_of_the_model():
    class Forgiving(nn.Sequential):
        def forward(self, x):
            try:
                return super().forward(x)
            except ValueError:
                return torch.zeros(len(x), 1)

    images = IMAGES.clone()
    images[7, 0, 2, 2] = torch.nan
    refused(r"layer '0' .*NaN.*in sample 7", model=Forgiving(nn.Conv2d(1, 2, 3)), data=images)


def test_a_module_left_in_training_mode_is_noted():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.ReLU()).eval()
    model[1].train()
    model[2].train()  # responds alike in both modes
    result = iv.measure(model, IMAGES, TURNS, progress=False)
    told = [note for note in result.provenance["notes"] if "training mode" in note]
    assert [note.rpartition(": ")[2] for note in told] == ["1"]
    assert model[1].training
    model.train()
    result = iv.measure(model, IMAGES, TURNS, progress=False)
    assert not any("training mode" in note for note in result.provenance["notes"])


class Wide(nn.Module):
    """Two views of every image through one convolution, and a linear layer that does not fit."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 2, 3), nn.Linear(5, 2)

    def forward(self, x):
        both = self.conv(torch.cat([x, x.flip(3)]))
        return self.linear(both.flatten(1))


def test_penalties_and_neurons_name_where_the_model_fails():
    said = r"the model, in 'linear' \(Linear\), failed on inputs of shape \(8, 1, 6, 6\) and dtype float32"
    for penalty in (
        iv.penalties.NormalizedVariance(TURNS),
        iv.penalties.EquivarianceDeviation(TURNS, kind="output"),
    ):
        with pytest.raises(ValueError, match=said):
            penalty(Wide(), IMAGES[:2], step=0)
    with pytest.raises(
        ValueError, match=r"layer 'conv' returns shape \(\d+, 2, .* for \d+ inputs, instead of one row"
    ):
        iv.neuron_stability(Wide(), "conv", IMAGES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_has_a_lie_derivative_as_a_whole_and_none_by_layer():
    with torch.no_grad():
        plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten())
        traced = torch.jit.trace(plain.double(), IMAGES.double())
    with pytest.raises(ValueError, match=r"'Sequential' is traced or scripted.*layerwise=False"):
        iv.lie_derivative(traced, IMAGES)
    whole, own = (iv.lie_derivative(m, IMAGES, layerwise=False).table for m in (traced, plain))
    assert whole["value"].tolist() == pytest.approx(own["value"].tolist(), rel=1e-6)
