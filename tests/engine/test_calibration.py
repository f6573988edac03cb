"""Batch normalisation at initialisation: which statistics, and that the result says so."""

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.variants.calibrated import batch_normalized, calibrated, normalization_of

X = 3 + 2 * torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.Flatten()
    ).eval()


def same_state(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_copy_does_to_its_data_what_one_batch_of_them_would():
    model = net()
    copy = calibrated(model, X)
    whole = net().train()(X)
    torch.testing.assert_close(copy(X), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat([copy(x[None]) for x in X]), whole, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(X), whole, atol=0.1)


def test_the_model_itself_stays_as_it_was_and_the_copys_settings_too():
    model, untouched = net(), net()
    copy = calibrated(model, X)
    assert same_state(model.state_dict(), untouched.state_dict())
    assert copy[1].momentum == model[1].momentum
    assert not copy.training
    assert not copy[1]._forward_pre_hooks


def test_a_subset_is_the_seeds_and_is_counted():
    few, again = (calibrated(net(), X, samples=16, seed=seed) for seed in (1, 1))
    other = calibrated(net(), X, samples=16, seed=2)
    assert same_state(few.state_dict(), again.state_dict())
    assert not same_state(few.state_dict(), other.state_dict())
    assert normalization_of(few) == "statistics of 16 inputs"


def test_a_shared_module_gets_the_average_over_its_runs():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x):
            return self.norm(x) + self.norm(x + 10)

    means = calibrated(Shared(), X).norm.running_mean
    torch.testing.assert_close(means, (X.mean() + 5)[None])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: net(), "stored running statistics"),
        (lambda: calibrated(net(), X), "statistics of 48 inputs"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), None),
    ],
)
def test_a_result_says_which_statistics_were_used(made, said):
    torch.manual_seed(0)
    result = iv.measure(made(), X, iv.QuarterTurns(), progress=False)
    assert result.provenance["model"].get("normalization") == said


def test_statistics_of_each_batch_have_to_be_asked_for_twice():
    model = batch_normalized(net())
    torch.testing.assert_close(model(X), net().train()(X))
    with pytest.raises(ValueError, match="unstable='measure'"):
        iv.measure(model, X, iv.QuarterTurns(), progress=False)
    with pytest.warns(UserWarning, match="batch"):
        result = iv.measure(model, X, iv.QuarterTurns(), unstable="measure", progress=False)
    assert result.provenance["model"]["normalization"] == "statistics of each batch"


@pytest.mark.parametrize("copied", [lambda m: calibrated(m, X), batch_normalized])
def test_what_has_no_such_statistics_is_refused(copied):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="no batch normalisation with running statistics"):
        copied(nn.Linear(3, 3))
    with pytest.raises(TypeError, match="got function"):
        copied(lambda x: x)
