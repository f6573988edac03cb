"""Which layers each layer takes its values from, as an inspection finds it."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import invariscope as iv
from invariscope.readers import as_reader

pytestmark = pytest.mark.usefixtures("seeded")


def found(model, *, x=None, **options):
    """{layer: sources} with calls after a colon, and "input" for the model's input."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) if x is None else x
    inspection = as_reader(model.eval(), **options).inspect(x)
    return {_name(layer): [_name(one) for one in sources] for layer, sources in inspection.sources.items()}


def _name(key):
    if key is None:
        return "input"
    return key[0] + (f":{key[1]}" if key[1] else "")


class Net(nn.Module):
    """A module whose forward pass is a function of the module and its input."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


def conv(into=4, out=4):
    return nn.Conv2d(into, out, 3, padding=1)


def test_a_sequence_is_a_chain():
    model = nn.Sequential(conv(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(256, 2))
    assert found(model) == {"0": ["input"], "1": ["0"], "2": ["1"], "3": ["2"]}


@pytest.mark.parametrize("inplace", [False, True])
def test_a_residual_connection_starts_at_the_layer_before_the_block(inplace):
    def run(self, x):
        x = self.stem(x)
        y = F.relu(self.one(x), inplace=inplace)
        return F.relu(x + self.two(y), inplace=inplace)

    assert found(Net(run, stem=conv(3), one=conv(), two=conv())) == {
        "stem": ["input"],
        "one": ["stem"],
        "relu": ["one"],
        "two": ["relu"],
        "add": ["stem", "two"],
        "relu:1": ["add"],
    }


def test_what_a_layer_writes_over_is_no_longer_there():
    """The skip starts after the activation that overwrites the convolution in place."""

    def run(self, x):
        x = self.one(x)
        view = x.view(len(x), -1)
        view.relu_()
        return self.two(x) + x

    assert found(Net(run, one=conv(3), two=conv())) == {
        "one": ["input"],
        "relu": ["one"],
        "two": ["relu"],
        "add": ["relu", "two"],
    }


def test_a_write_into_a_part_adds_to_what_was_there():
    def run(self, x):
        whole = torch.zeros(len(x), 8, 8, 8)
        whole[:, :4] = self.one(x)
        whole[:, 4:] = self.two(x)
        return self.three(whole)

    flow = found(Net(run, one=conv(3), two=conv(3), three=conv(8)))
    assert flow["three"] == ["one", "two"]


def test_dense_connections_and_shared_modules():
    def run(self, x):
        one = self.conv(x)
        two = self.conv(one)
        return self.last(torch.cat([x, one, two], dim=1))

    assert found(Net(run, conv=conv(3, 3), last=conv(9))) == {
        "conv": ["input"],
        "conv:1": ["conv"],
        "cat": ["input", "conv", "conv:1"],
        "last": ["cat"],
    }


def test_attention_and_recurrence():
    def run(self, x):
        x = x.flatten(2).transpose(1, 2)
        attended, _ = self.attention(x, x, x)
        states, (last, _) = self.lstm(attended)
        return self.head(last[0]) + states.mean(1)

    parts = {
        "attention": nn.MultiheadAttention(3, 1, batch_first=True),
        "lstm": nn.LSTM(3, 5, batch_first=True),
    }
    flow = found(Net(run, **parts, head=nn.Linear(5, 5)))
    assert flow["attention"] == ["input"]
    assert flow["lstm"] == ["attention"]
    assert flow["head"] == ["lstm[1][0]"]
    assert flow["add"] == ["head", "mean"]
    assert flow["mean"] == ["lstm"]


def test_connections_lead_through_layers_that_are_not_selected():
    model = nn.Sequential(conv(3), nn.ReLU(), conv(), nn.ReLU(), conv())
    assert found(model, layers=["0", "4"]) == {"0": ["input"], "4": ["0"]}


def test_constants_of_the_model_are_no_sources():
    """A plain attribute, a buffer, a value that the first forward pass keeps, and a new one."""

    def run(self, x):
        if "kept" not in self.cache:
            self.cache["kept"] = torch.linspace(0, 1, 8).exp()
        x = (x - self.mean) / self.scale + self.cache["kept"] + torch.arange(8.0)
        return self.conv(x)

    model = Net(run, conv=conv(3))
    model.cache, model.mean = {}, torch.full((3, 1, 1), 0.5)
    model.register_buffer("scale", torch.full((3, 1, 1), 2.0))
    flow = found(model)
    assert flow["conv"] == ["add:1"]
    assert flow["sub"] == ["input"]


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def test_a_custom_autograd_function_is_followed_or_nothing_is_reported():
    def run(self, x):
        return self.two(Twice.apply(self.one(x)))

    flow = found(Net(run, one=conv(3), two=conv()))
    assert not flow or flow["two"] in (["one"], ["mul"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_inside_of_a_scripted_module_counts_as_computed_from_its_arguments():
    inner = torch.jit.trace(nn.Sequential(conv(), nn.ReLU()), torch.zeros(2, 4, 8, 8))
    flow = found(nn.Sequential(conv(3), inner, conv()))
    assert flow == {"0": ["input"], "1": ["0"], "2": ["1"]}


def _through_numpy(self, x):
    return self.two(torch.from_numpy(self.one(x).detach().numpy() + 1))


def _in_another_thread(self, x):
    results = []
    y = self.one(x)
    thread = threading.Thread(target=lambda: results.append(y.detach() * 2))
    thread.start()
    thread.join()
    return self.two(results[0])


def _inside_vmap(self, x):
    return torch.func.vmap(lambda one: self.two(self.one(one[None]))[0])(x)


@pytest.mark.parametrize("run", [_through_numpy, _in_another_thread, _inside_vmap])
def test_what_cannot_be_followed_is_not_guessed(run):
    flow = found(Net(run, one=conv(3), two=conv()))
    assert flow == {} or (run is _inside_vmap and flow == {"Net": ["input"]})


@pytest.mark.parametrize("seed", range(5))
def test_a_random_graph_is_found_again(seed):
    rng = np.random.default_rng(seed)
    count = 12
    edges = [sorted(set(rng.integers(-1, k, size=rng.integers(1, 4)).tolist())) for k in range(count)]

    def run(self, x):
        made = {-1: x.flatten(1)}
        for k, sources in enumerate(edges):
            made[k] = self.parts[k](torch.stack([made[s] for s in sources]).amax(0))
        return torch.stack(list(made.values())).sum(0)

    model = Net(run, parts=nn.ModuleList(nn.Linear(192, 192) for _ in range(count)))
    names = [f"parts.{k}" for k in range(count)]
    flow = found(model, layers=names)
    assert flow == {
        names[k]: ["input" if s < 0 else names[s] for s in sources] for k, sources in enumerate(edges)
    }


def test_the_result_records_the_connections_and_a_merged_one_keeps_them(tmp_path):
    model = Net(lambda self, x: x + self.conv(x), conv=conv(3, 3)).eval()
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = [["conv", 0, [-1]], ["add", 0, [-1, 0]]]
    result = iv.measure(model, x, iv.QuarterTurns(), progress=False)
    assert result.provenance["dataflow"] == expected
    result.save(tmp_path / "run")
    assert iv.load(tmp_path / "run").provenance["dataflow"] == expected
    shards = [iv.measure(model, x, iv.QuarterTurns(), progress=False, shard=(k, 2)) for k in range(2)]
    assert iv.merge(shards).provenance["dataflow"] == expected


def test_a_model_that_is_not_of_torch_records_none():
    result = iv.measure(
        lambda x: {"flat": x.reshape(len(x), -1)}, torch.rand(64, 1, 4, 4), iv.QuarterTurns(), progress=False
    )
    assert "dataflow" not in result.provenance
