"""Random baselines: every effective weight is redrawn, or the network is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import invariscope as iv
from invariscope.variants.derived_weights import effective_weights
from invariscope.variants.randomized import random_network, randomized

TURNS = iv.QuarterTurns()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Attention(nn.Module):
    """Weights of its own in a layer of torch that names its initialiser differently."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


class Model(nn.Module):
    """As a model of transformers: initialised module by module, with tied weights."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(4, 6, bias=False), nn.Linear(4, 6)
        self.head.weight = self.embed.weight
        self.mix = Token()
        self.head._is_hf_initialized = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(std=0.02)
        if isinstance(module, Token):
            module.token.data.normal_(5.0, 0.1)

    def forward(self, x):
        return self.head(x) + self.embed(x) + self.mix.token


class Token(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(6))


class Vision(nn.Module):
    """As a model of timm: `init_weights()` reaches the parameters of the model itself."""

    def __init__(self):
        super().__init__()
        self.position, self.fc = nn.Parameter(torch.zeros(4)), nn.Linear(4, 4)

    def init_weights(self, mode=""):
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x):
        return self.fc(x + self.position)


def trained(model, x):
    """The model after a step that leaves no weight at its initial value, and a forward with a history."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 + torch.rand(parameter.shape, generator=generator)
    model.train()(x)
    return model


WRAPPED = {
    "spectral_norm": lambda: spectral_norm(nn.Linear(4, 4)),
    "weight_norm": lambda: weight_norm(nn.Linear(4, 4)),
    "weight_norm of a recurrent layer": lambda: weight_norm(nn.LSTM(4, 3), "weight_hh_l0"),
    "parametrizations.spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(4, 4)),
    "parametrizations.weight_norm": lambda: parametrizations.weight_norm(nn.Linear(4, 4)),
    "parametrizations.orthogonal": lambda: parametrizations.orthogonal(nn.Linear(4, 4)),
    "a parametrization of no inverse": lambda: parametrized(nn.Linear(4, 4)),
    "pruning": lambda: prune.l1_unstructured(nn.Linear(4, 4), "weight", amount=0.4),
    "pruning beside running statistics": lambda: nn.Sequential(
        nn.Linear(4, 4), prune.random_unstructured(nn.BatchNorm1d(4), "weight", amount=1)
    ),
    "two wrappers of one layer": lambda: weight_norm(parametrized(nn.Linear(4, 4), "bias")),
}
PLAIN = {
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
    "transformer layer": lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    "attention": Attention,
    "tied weights, _init_weights(module)": type("Tied", (Model,), {"__name__": "PreTrainedModel"}),
    "init_weights()": Vision,
}


class Halved(nn.Module):
    def forward(self, weight):
        return torch.tanh(weight) / 2


def parametrized(module, name="weight"):
    parametrize.register_parametrization(module, name, Halved())
    return module


def batch(name):
    shape = (8, 3, 4) if name in ("transformer layer", "attention") else (8, 4)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("name", [*WRAPPED, *PLAIN])
def test_every_effective_weight_is_drawn_and_the_original_is_untouched(name):
    x = batch(name)
    model = trained((WRAPPED | PLAIN)[name](), x)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    one, again, other = (randomized(model, seed=seed) for seed in (1, 1, 2))
    own, drawn, repeated = (dict(effective_weights(net)) for net in (model, one, again))
    assert own.keys() == drawn.keys()
    for key, value in drawn.items():
        assert not torch.equal(value, own[key]), key
        assert torch.equal(value, repeated[key]), key
    assert any(not torch.equal(value, drawn[key]) for key, value in effective_weights(other))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    # What forwards use are the weights that were compared.
    one.eval()(x)
    assert all(torch.equal(value, drawn[key]) for key, value in effective_weights(one))


@pytest.mark.parametrize("wrap", [spectral_norm, parametrizations.spectral_norm])
def test_the_norm_of_a_drawn_weight_is_one_though_singular_vectors_come_from_the_trained_one(wrap):
    x = torch.randn(8, 4)
    model = trained(wrap(nn.Linear(4, 4)), x)
    drawn = randomized(model, seed=5)
    drawn.eval()(x)
    assert float(torch.linalg.matrix_norm(drawn.weight.detach(), 2)) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", ["weight_norm", "pruning", "parametrizations.weight_norm"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_wrapped_layer_draws_the_weights_of_the_plain_one(name):
    model = WRAPPED[name]()
    plain, drawn = randomized(nn.Linear(4, 4), seed=7), randomized(model, seed=7)
    expected = plain.weight.detach() * (model.weight_mask if name == "pruning" else 1)
    torch.testing.assert_close(drawn.weight.detach(), expected)
    assert torch.equal(drawn.bias, plain.bias)


def test_tied_weights_stay_tied_and_initialised_flags_of_transformers_are_ignored():
    drawn = randomized(PLAIN["tied weights, _init_weights(module)"](), seed=0)
    assert drawn.head.weight is drawn.embed.weight
    assert float(drawn.head.weight.detach().std()) == pytest.approx(0.02, rel=0.5)
    assert float(drawn.mix.token.detach().mean()) == pytest.approx(5, rel=0.1)


def test_a_model_that_was_itself_drawn_from_the_seed_is_not_refused():
    torch.manual_seed(1)
    assert torch.equal(random_network(net := nn.Linear(4, 4), "random", seed=1).weight, net.weight)


def test_running_statistics_and_constants_at_their_initial_values_are_not_missed():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LayerNorm(4))
    drawn = randomized(net, seed=1)
    assert not torch.equal(drawn[0].weight, net[0].weight)
    assert torch.equal(drawn[1].weight, torch.ones(4))
    assert torch.equal(drawn[1].running_mean, torch.zeros(4))


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.scale = nn.Linear(4, 4), nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x):
        return self.fc(x) * self.scale


class Frozen(nn.Module):
    """As torchvision's FrozenBatchNorm2d: what was learned is kept in buffers."""

    def __init__(self):
        super().__init__()
        for name in ("weight", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(4))

    def forward(self, x):
        return (x - self.running_mean) * self.weight


class Barred(nn.Module):
    """As copies of spectral norm that keep their weight under a name of their own."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.fc.weight_bar = nn.Parameter(self.fc.weight.detach().clone())
        del self.fc.weight
        self.fc.weight = self.fc.weight_bar.detach() / 2

    def forward(self, x):
        self.fc.weight = self.fc.weight_bar / 2
        return self.fc(x)


class Broken(nn.Linear):
    def reset_parameters(self):
        if hasattr(self, "done"):
            raise RuntimeError("no second time")
        self.done = True


class Low(nn.Module):
    """A parametrization with weights of its own."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(4, 4))

    def forward(self, weight):
        return weight + self.factor


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Bare, r"random weights for Bare: its modules have no initialiser for 'scale'\. Pass baseline=make"),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), Frozen()),
            r"'1\.running_mean', '1\.running_var', '1\.weight'",
        ),
        (Barred, r"no initialiser for 'fc\.weight_bar'"),
        (
            lambda: Broken(4, 4),
            r"reset_parameters\(\) failed for the model with RuntimeError: no second time",
        ),
        (
            lambda: low_rank(nn.Linear(4, 4)),
            r"no initialiser for 'parametrizations\.weight\.0\.factor'",
        ),
        (lambda: nn.LayerNorm(4), r"LayerNorm draws nothing at random"),
        (nn.Tanh, r"Tanh draws nothing at random"),
        (lambda: nn.LazyLinear(3), r"'weight' is not initialised yet"),
    ],
    ids=["bare", "frozen norm", "own names", "failing", "weights of a wrapper", "constant", "none", "lazy"],
)
def test_what_cannot_be_drawn_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        random_network(make(), "random", seed=0)


def low_rank(module):
    parametrize.register_parametrization(module, "weight", Low())
    return module


def quick(model, **options):
    x = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return iv.measure(model, x, TURNS, progress=False, draws=4, **options)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(1, 3, 3), nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x):
        return torch.relu(self.conv(x) * self.scale - 0.2)


def test_a_function_builds_the_networks_if_modules_cannot_reset_themselves():
    model = Scaled()
    found, again, longer = (quick(model, baseline=Scaled, seed=seed) for seed in (3, 3, 4))
    assert (found.baseline["low"] < found.baseline["high"]).all()
    assert found.baseline.equals(again.baseline)
    assert not found.baseline.equals(longer.baseline)
    assert found.provenance["options"]["baseline"] == "Scaled"


def test_networks_from_a_function_are_cast_to_the_models_dtype():
    double = quick(Scaled().double(), baseline=Scaled, precision="float32").baseline
    assert (double["low"] < double["high"]).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda model: lambda: model, ValueError, r"returned the model's own weights"),
        (lambda model: lambda: copy_of(model), ValueError, r"model's own weights: Scaled draws nothing"),
        (
            lambda model: lambda: nn.Conv2d(1, 3, 3),
            ValueError,
            r"a different architecture: 'scale' is \(3, 1, 1\)",
        ),
        (lambda model: lambda: 3, TypeError, r"must return a torch\.nn\.Module; got int"),
        (lambda model: lambda: 1 / 0, ValueError, r"failed with ZeroDivisionError: division by zero"),
        (lambda model: lambda n: n, ValueError, r"failed with TypeError"),
        (lambda model: same_again, ValueError, r"two random networks have the same weights"),
        (lambda model: one_for_all(Scaled()), ValueError, r"two random networks have the same weights"),
        (lambda model: model, TypeError, r"baseline must be 'random', or a function.*got Scaled"),
        (lambda model: 3, TypeError, r"baseline must be 'random', or a function.*got int"),
    ],
    ids=[
        "itself",
        "its copy",
        "another",
        "no module",
        "failing",
        "arguments",
        "seeded",
        "one for all",
        "a module",
        "a number",
    ],
)
def test_functions_that_do_not_give_a_baseline_are_refused(make, error, message):
    model = Scaled()
    with pytest.raises(error, match=message):
        quick(model, baseline=make(model))


def one_for_all(network):
    return lambda: network


def copy_of(model):
    found = Scaled()
    found.load_state_dict(model.state_dict())
    return found


def same_again():
    torch.manual_seed(9)
    return Scaled()
