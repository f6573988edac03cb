"""Layers that the first forward creates are refused; compiled functions run uncompiled, without warnings."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.readers.torch.eager import without_compilation

ELEMENTS = [torch.clone, lambda x: x.flip(1)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def quick(net, **options):
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
    return iv.measure(net, x, ELEMENTS, progress=False, **options)


class Building(nn.Module):
    """Makes what it needs in its first forward."""

    def __init__(self, make):
        super().__init__()
        self.make, self.act = make, nn.Tanh()
        self.built = None

    def forward(self, x):
        if self.built is None:
            self.make(self, x)
        part = self.built[0] if isinstance(self.built, list | nn.ModuleList) else self.built
        return self.act(part(x) if isinstance(part, nn.Module) else x @ part)


def build(value):
    return lambda net, x: setattr(net, "built", value(x.shape[1]))


@pytest.mark.parametrize(
    ("make", "built"),
    [
        (build(lambda n: nn.Linear(n, 3)), r"'built' \(Linear\), 'built\.weight' \(Parameter\)"),
        (build(lambda n: nn.ModuleList([nn.Linear(n, 3)])), r"'built' \(ModuleList\), 'built\.0' \(Linear\)"),
        (build(lambda n: nn.Parameter(torch.ones(n, 3))), r"'built' \(Parameter\)"),
        (build(lambda n: [nn.Linear(n, 3)]), r"'built' \(Linear\)"),
        (build(lambda n: torch.randn(n, 3)), r"'built' \(tensor\)"),
    ],
    ids=["module", "list of modules", "parameter", "plain list", "random tensor"],
)
def test_layers_that_the_first_forward_creates_are_named_and_can_be_measured_afterwards(make, built):
    net = Building(make)
    with pytest.raises(
        ValueError, match=rf"the first forward pass creates {built}.*: run the model once on a batch"
    ):
        quick(net)
    assert net.built is None
    net(torch.randn(4, 8))
    assert len(quick(net).table)


@pytest.mark.parametrize("net", [nn.LazyLinear(3), nn.Sequential(nn.Tanh(), nn.LazyBatchNorm1d())])
def test_lazy_modules_are_refused_with_the_same_advice(net):
    with pytest.raises(ValueError, match=r"is not initialised yet \(a lazy module\): run the model once"):
        quick(net)


def test_a_cache_that_the_first_forward_fills_is_not_refused():
    assert len(quick(Building(build(lambda n: torch.linspace(-1, 1, n)[:, None]))).table)


class Compiled(nn.Module):
    """Calls a function, a method and a module, compiled or not."""

    def __init__(self, compiled):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.function = compiled(torch.relu)
        self.method = compiled(self.middle)
        self.wrapped = compiled(self.inner)

    def middle(self, x):
        return self.last(x) * 2

    def forward(self, x):
        return self.method(self.wrapped(self.function(self.first(x))))


def eager(function):
    return torch.compile(function, backend="eager")


@pytest.fixture
def never_compiled():
    """A backend that fails if anything is compiled."""

    def refuse(graph, inputs):
        raise AssertionError("something was compiled")

    return lambda function: torch.compile(function, backend=refuse)


def test_compiled_functions_inside_a_forward_run_uncompiled_without_warnings(never_compiled, caplog):
    plain = quick(Compiled(lambda function: function))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = quick(Compiled(never_compiled))
    assert compiled.table["value"].tolist() == plain.table["value"].tolist()
    assert "the compiled model is read uncompiled" in compiled.provenance["notes"]
    assert "the compiled model is read uncompiled" not in plain.provenance["notes"]
    assert not caplog.records


def test_the_users_code_is_compiled_again_afterwards():
    seen = []

    def noting(graph, inputs):
        seen.append(graph)
        return graph.forward

    net = nn.Sequential(nn.Linear(8, 8), torch.compile(nn.Tanh(), backend=noting))
    quick(net)
    assert not seen
    with torch.no_grad():
        net(torch.randn(4, 8))
    assert seen


def test_the_last_of_several_threads_reenables_compilation():
    eager(torch.relu)  # loads the compiler
    inside, leave = threading.Event(), threading.Event()

    def other():
        with without_compilation():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with without_compilation():
        thread.start()
        inside.wait(10)
    assert stance() == "force_eager"
    leave.set()
    thread.join()
    assert stance() == "default"


def stance():
    from torch._dynamo import eval_frame

    return eval_frame._stance.stance


def test_copies_of_models_whose_functions_hold_the_original_are_refused():
    message = r"precision='float64' needs a copy.*'method' of the model is a function that would still use"
    with pytest.raises(ValueError, match=message):
        quick(Compiled(eager), precision="float64")
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    net[0].register_forward_hook(lambda module, args, output: output + net[1].bias.sum())
    with pytest.raises(ValueError, match=r"a random baseline.*needs a copy.*'forward_hooks' of '0'"):
        quick(net, baseline="random", draws=2)
    assert len(quick(nn.Sequential(nn.Linear(8, 3)), precision="float64").table)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_model_that_keeps_a_computed_tensor_with_its_history_can_be_copied():
    net = nn.utils.weight_norm(nn.Linear(8, 3))
    net(torch.randn(4, 8))  # leaves `weight`, which is computed and has a gradient
    assert not net.weight.is_leaf
    single, double = (quick(net, precision=p).table["value"].to_numpy() for p in ("float32", "float64"))
    assert single == pytest.approx(double, rel=1e-5)
