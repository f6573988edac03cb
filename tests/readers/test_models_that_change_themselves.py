"""Models whose forwards change them: the numbers are correct, and the model is restored."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.readers import TorchReader

pytestmark = pytest.mark.usefixtures("seeded")

ELEMENTS = [lambda x: x, lambda x: x.roll(1, 1)]


def table(model: nn.Module, x: Tensor, **options: Any) -> Any:
    return iv.measure(model, x, ELEMENTS, progress=False, **options).table


class Collects(nn.Module):
    """Its first forward registers hooks of every kind and records that in an attribute."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.inner, self.ready, self.scale = nn.Linear(8, 4), False, scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.ready, self.kept = True, []
            self._set_up()
        self.kept.clear()
        self.inner(x)
        return torch.stack(self.kept).sum(0)

    def _set_up(self) -> None:
        inner = self.inner
        inner.register_forward_hook(lambda m, args, out: out * self.scale)
        inner.register_forward_hook(
            lambda m, args, kwargs, out: self.kept.append(out), with_kwargs=True, always_call=True
        )
        inner.register_forward_pre_hook(lambda m, args, kwargs: None, with_kwargs=True)
        inner.register_full_backward_hook(lambda m, before, after: None)
        inner.register_full_backward_pre_hook(lambda m, after: None)
        inner.register_state_dict_post_hook(lambda m, state, prefix, local: None)
        inner.register_state_dict_pre_hook(lambda m, prefix, keep: None)
        inner.register_load_state_dict_pre_hook(lambda *given: None)
        inner.register_load_state_dict_post_hook(lambda m, keys: None)
        inner.register_buffer("passing", torch.ones(2), persistent=False)


def shown(module: nn.Module) -> dict[str, Any]:
    """Attributes in comparable form, the contents of tables and containers included."""
    return {
        name: (list(value.items()) if isinstance(value, dict) else sorted(value, key=str))
        if isinstance(value, (dict, set))
        else value
        for name, value in vars(module).items()
    }


def test_hooks_that_the_first_forward_registers_are_undone_with_the_attribute_that_records_them() -> None:
    model, x = Collects(), torch.randn(32, 8)
    expected = model.inner(x).detach()
    before = [shown(module) for module in model.modules()]
    found = table(model, x)
    assert [shown(module) for module in model.modules()] == before
    assert found.set_index("layer").units["stack"] == 4
    torch.testing.assert_close(model(x).detach(), expected)


def test_a_hook_that_the_first_forward_registers_runs_before_the_layer_is_read() -> None:
    model, x, read = Collects(scale=3.0), torch.randn(5, 8), {}
    with TorchReader(model).open() as forward:
        for _ in range(2):
            forward(x, lambda reading: read.setdefault(reading.layer, []).append(reading.values.clone()))
    wanted = 3 * (x @ model.inner.weight.T + model.inner.bias).detach()
    for values in read["inner"]:
        torch.testing.assert_close(values, wanted)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_everything_is_undone_after_an_error_in_the_middle(error: type[BaseException]) -> None:
    model, x = Collects(), torch.randn(6, 8)
    before = [shown(module) for module in model.modules()]

    def sink(reading: Any) -> None:
        raise error("enough")

    with pytest.raises(error, match="enough"), TorchReader(model).open() as forward:
        forward(x, sink)
    assert [shown(module) for module in model.modules()] == before


class Settings:
    def __init__(self) -> None:
        self.level, self.seen = 1, [torch.zeros(2)]


class Scribbles(nn.Module):
    """Writes in place to whatever it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.count = 0
        self.shapes: dict[Any, Any] = {"nested": {"deep": [1]}}
        self.ordered = OrderedDict(a=1, b=2)
        self.recent = deque([1, 2], maxlen=2)
        self.names = {"first"}
        self.raw = bytearray(b"abc")
        self.array, self.plain = np.zeros(3), torch.tensor([1.0, float("nan")])
        self.parts = ([torch.zeros(2)], SimpleNamespace(step=0), Settings())
        self.hidden = [nn.BatchNorm1d(4, affine=False)]
        self.lock = threading.Lock()
        self.generators = {"own": torch.Generator().manual_seed(3)}

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.shapes[tuple(x.shape)] = self.count
        self.shapes["nested"]["deep"].append(x)
        self.ordered.move_to_end("a")
        self.recent.append(self.count)
        self.names.add(str(self.count))
        self.raw += b"d"
        self.array += 1
        self.plain.add_(1)
        self.parts[0][0].add_(1)
        self.parts[1].step += 1
        self.parts[2].level += 1
        self.parts[2].seen[0].add_(1)
        self.hidden[0](x)
        self.layer.bias.requires_grad_(False)
        self.layer.training = True
        with self.lock:
            torch.rand(1, generator=self.generators["own"])
        return self.layer(x)


def state(model: Scribbles) -> list[Any]:
    return [
        *(model.count, repr(model.shapes), list(model.ordered), list(model.recent), len(model.names)),
        *(
            bytes(model.raw),
            model.array.tolist(),
            str(model.plain.tolist()),
            model.parts[0][0].tolist(),
            model.parts[1].step,
        ),
        *(model.parts[2].level, model.parts[2].seen[0].tolist(), model.hidden[0].running_mean.tolist()),
        *(model.layer.bias.requires_grad, model.layer.training),
        model.generators["own"].get_state().tolist(),
    ]


def test_what_a_forward_writes_in_place_is_undone() -> None:
    model, x = Scribbles().eval(), torch.randn(6, 4)
    objects, before = [id(value) for value in vars(model).values()], state(model)
    with TorchReader(model).open() as forward:
        for _ in range(2):
            forward(x, lambda reading: None)
    assert state(model) == before
    assert [id(value) for value in vars(model).values()] == objects
    model(x)
    assert [a == b for a, b in zip(state(model), before, strict=True)] == [False] * len(before)


def test_resized_tensors_and_replaced_weight_data_are_restored() -> None:
    class Grows(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.table.resize_(len(x))
            self.weight.data = self.weight.data * 2
            return super().forward(x)

    model = Grows(4, 3)
    model.register_buffer("table", torch.ones(1))
    before, place = model.weight.detach().clone(), model.weight.data_ptr()
    with TorchReader(model).open() as forward:
        forward(torch.randn(6, 4), lambda reading: None)
    assert torch.equal(model.table, torch.ones(1))
    assert torch.equal(model.weight, before)
    assert model.weight.data_ptr() == place


def test_weights_are_not_copied() -> None:
    from invariscope.readers.torch.snapshot import Snapshot, _restore_tensor

    model = nn.LSTM(4, 4)
    model.views = [model.weight_ih_l0.data.T, model.weight_hh_l0.detach()[:2]]
    model.register_buffer("own", torch.zeros(2))
    copied = [one.args[0] for one in Snapshot(model)._restorers if one.func is _restore_tensor]
    assert len(copied) == 1
    assert copied[0] is model.own


class Builds(nn.Module):
    """Its first forward creates a layer."""

    def __init__(self, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.make, self.layer, self.last = make, None, nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.layer is None:
            self.layer = self.make(x.shape[1])
        return self.last(self.layer(x))


def test_a_layer_with_weights_that_the_first_forward_creates_is_refused() -> None:
    model, x = Builds(lambda width: nn.Linear(width, 8)), torch.randn(16, 8)
    with pytest.raises(ValueError, match=r"creates 'layer' \(Linear\), 'layer.weight' .*: run the"):
        table(model, x)
    assert model.layer is None
    model(x)
    assert table(model, x).layer.tolist() == ["layer", "last"]


def test_a_layer_without_weights_that_the_first_forward_creates_is_read() -> None:
    model, x = Builds(lambda width: nn.LeakyReLU(0.5)), torch.randn(16, 8)
    found = table(model, x)
    assert found.layer.tolist() == ["layer", "last"]
    assert model.layer is None
    model(x)
    assert table(model, x).value.tolist() == found.value.tolist()


@pytest.fixture
def _one_process(tmp_path: Any) -> Any:
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or sys.platform != "linux":
        pytest.skip("torch without distributed")
    store = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
def test_a_fresh_sharded_model_gives_the_same_numbers_and_still_trains() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh, x = init_device_mesh("cpu", (1,)), torch.randn(16, 8)
    model = nn.Sequential(nn.Linear(8, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 2))
    expected, wanted = model(x).detach(), table(model, x)
    fully_shard(model[1], mesh=mesh)
    fully_shard(model, mesh=mesh)
    for _ in range(2):
        assert table(model, x).value.tolist() == wanted.value.tolist()
        assert {type(weight).__name__ for weight in model.state_dict().values()} == {"DTensor"}
        output = model(x)
        assert torch.equal(output, expected)
        output.sum().backward()
        assert all(weight.grad is not None for weight in model.parameters())
