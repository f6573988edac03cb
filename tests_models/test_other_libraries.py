"""Models of other libraries whose first forward changes them: a measurement must not interfere.

Run by `make test-models`. The whole list of architectures is `python -m benchmarks.architectures`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from benchmarks.architectures.claims import judged
from benchmarks.architectures.comparison import MEASURES, difference
from benchmarks.architectures.every import every
from benchmarks.architectures.plain_hooks import floating_leaves, responses, undefined
from torch import Tensor, distributed, nn

import invariscope as iv

ELEMENTS = [lambda v: v, lambda v: v.flip(-1)]
ARCHITECTURES = {architecture.name: architecture for architecture in every()}


def hooks(model: nn.Module) -> list[int]:
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]


def outputs(output: Any) -> list[Tensor]:
    """The tensors of a model's output."""
    parts = output if isinstance(output, tuple | list) else output.values() if hasattr(output, "keys") else ()
    return [output] if isinstance(output, Tensor) else [tensor for part in parts for tensor in outputs(part)]


@pytest.mark.parametrize("name", ["SegformerForSemanticSegmentation", "ViTModel"])
def test_a_fresh_model_that_collects_hidden_states_is_unaffected(name):
    """transformers registers hooks in the first forward that asks for hidden states, and records that."""
    model, x = ARCHITECTURES[name].make()
    twin = copy.deepcopy(model)
    iv.measure(model, x, ELEMENTS, progress=False)
    with torch.no_grad():
        found, right = outputs(model(x)), outputs(twin(x))
    assert len(found) == len(right)
    assert all(map(torch.equal, found, right))
    assert hooks(model) == hooks(twin)


def test_a_model_that_has_run_still_returns_hidden_states_after_a_measurement():
    model, x = ARCHITECTURES["ViTModel"].make()
    with torch.no_grad():
        before = outputs(model(x))
        iv.measure(model, x, ELEMENTS, progress=False)
        after = outputs(model(x))
    assert len(before) == len(after) > 2
    assert all(map(torch.equal, before, after))


@pytest.fixture
def group() -> Iterator[distributed.device_mesh.DeviceMesh]:
    """A process group of one."""
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    yield distributed.device_mesh.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def test_a_fresh_sharded_model_is_measured_like_the_plain_one_and_trains_afterwards(group):
    from torch.distributed.fsdp import fully_shard

    plain, sharded = network(), network()
    for part in (sharded[0], sharded[2], sharded):
        fully_shard(part, mesh=group)
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    before = hooks(sharded)
    tables = [iv.measure(model, x, ELEMENTS, progress=False).table for model in (plain, sharded)]
    assert tables[0]["layer"].tolist() == tables[1]["layer"].tolist()
    assert tables[0]["value"].tolist() == tables[1]["value"].tolist()
    assert hooks(sharded) == before
    for model in (plain, sharded):
        model(x).square().sum().backward()
    assert torch.equal(plain(x), sharded(x))
    for weight, own in zip(sharded.parameters(), plain.parameters(), strict=True):
        assert torch.equal(weight.grad.full_tensor(), own.grad)


def test_a_sharded_model_that_has_run_is_measured_like_the_plain_one(group):
    from torch.distributed.fsdp import fully_shard

    plain, sharded = network(), network()
    fully_shard(sharded, mesh=group)
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(x), sharded(x))
    tables = [iv.measure(model, x, ELEMENTS, progress=False).table for model in (plain, sharded)]
    assert tables[0]["value"].tolist() == tables[1]["value"].tolist()
    assert torch.equal(plain(x), sharded(x))


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-5])
def test_the_comparison_with_plain_hooks_detects_an_error_of_one_in_a_hundred_thousand(factor):
    model, x = network().double(), torch.randn(12, 8, generator=torch.Generator().manual_seed(0)).double()
    wanted = floating_leaves(model, x)
    found = iv.measure(model, x, ELEMENTS, measures=list(MEASURES), progress=False, precision="float64")
    truth = responses(model, x, tuple(ELEMENTS), wanted)
    assert [leaf.label for leaf in wanted] == ["0", "1", "2"]
    for leaf in wanted:
        moved = truth[leaf.key].clone()
        moved[3, 1] *= factor
        assert bool(difference(found, (leaf.label, 0), moved)) == (factor != 1)


@pytest.mark.parametrize(
    ("reason", "true"),
    [
        ("no axis follows the batch size", False),
        ("axes 0 and 1 both follow the batch size: choose one with batch_axis=", False),
        ("its values are int64, not real floating-point numbers", False),
        ("its values are float32, not real floating-point numbers", True),
        ("axis 0 holds several numbers per sample", False),
        ("axis 0 has 1 rows per sample in an order that mixes samples", False),
        ("its shape depends on the values of the inputs", False),
        ("it runs for some inputs and not for others", False),
        ("how often it runs depends on the values or number of the inputs", False),
        ("its response to an input depends on the other inputs of the batch, or their order", False),
        ("it returned a str instead of a tensor", False),
        ("it looked odd", None),
    ],
)
def test_the_check_of_reasons_knows_an_untrue_one(reason, true):
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    assert list(judged({("0", 0): reason}, network(), x, ELEMENTS).values()) == [true]


class Centred(nn.Module):
    """Leaves the mean over the batch out."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


def test_plain_hooks_find_the_layer_that_has_no_right_value():
    model = nn.Sequential(*network(), Centred())
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    wanted = floating_leaves(model, x)
    alone = responses(model, x, tuple(ELEMENTS), wanted)
    assert undefined(model, x, tuple(ELEMENTS), wanted, alone) == {("3", 0, ())}
