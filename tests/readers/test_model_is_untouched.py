"""After reading, nothing about the model or the process has changed, whatever happened in between."""

from __future__ import annotations

import gc
import random
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_globals

from invariscope.readers import Reading, TorchReader, depends_on_batch
from invariscope.readers.base import FailedForward
from odd_models import ODD_MODELS, UNSTABLE_MODELS

pytestmark = pytest.mark.usefixtures("seeded")

ALL_MODELS = ODD_MODELS | UNSTABLE_MODELS

_HOOKS = [
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
]


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything that must not change, in comparable form."""
    modules = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    return {
        "modes": [m.training for m in model.modules()],
        "hooks": [{name: dict(getattr(m, name)) for name in _HOOKS} for m in modules],
        "attributes": [{k: id(v) for k, v in vars(m).items()} for m in modules],
        "values": {k: v.detach().clone().double().tolist() for k, v in model.state_dict().items()},
        "versions": [tensor._version for tensor in (*model.parameters(), *model.buffers())],
        "identities": [id(tensor) for tensor in (*model.parameters(), *model.buffers())],
        "frozen": [weight.requires_grad for weight in model.parameters()],
        "gradients": [None if w.grad is None else (id(w.grad), w.grad.tolist()) for w in model.parameters()],
        "global hooks": (
            len(module_globals._global_forward_hooks),
            len(module_globals._global_forward_pre_hooks),
        ),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "function modes": torch._C._len_torch_function_stack(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
    }


def read_all(model: nn.Module, x: Tensor, **options: Any) -> None:
    reader = TorchReader(model)
    reader.inspect(x, **options)
    with reader.open(**options) as forward:
        forward(x, lambda reading: None)


@pytest.mark.parametrize("name", ALL_MODELS)
def test_reading_leaves_the_model_and_the_generators_as_they_were(name: str) -> None:
    model, x = ALL_MODELS[name]()
    before, inputs = snapshot(model), x.clone()
    read_all(model, x)
    depends_on_batch(TorchReader(model), x)
    assert snapshot(model) == before
    assert torch.equal(x, inputs)


@pytest.mark.parametrize("name", sorted(set(ALL_MODELS) - {"wrapped_forward"}))
def test_reading_a_copy_leaves_the_model_as_it_was(name: str) -> None:
    model, x = ALL_MODELS[name]()
    before = snapshot(model)
    read_all(model, x, precision="float64")
    assert snapshot(model) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["residual", "transformer_encoder", "in_train_mode", "scripted_inside"])
def test_an_error_in_the_sink_leaves_the_model_as_it_was(name: str, error: type[BaseException]) -> None:
    model, x = ODD_MODELS[name]()
    before = snapshot(model)

    def sink(reading: Reading) -> None:
        if reading.layer not in ("0", "stem"):
            raise error("enough")

    with pytest.raises(error, match="enough"), TorchReader(model).open() as forward:
        forward(x, sink)
    assert snapshot(model) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_forward_leaves_the_model_as_it_was(error: type[BaseException]) -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 3:
                raise error("enough")
            return x

    model, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), Fails()), torch.rand(4, 4)
    before, reader = snapshot(model), TorchReader(model)
    reader.inspect(x[:2])
    named = FailedForward if error is RuntimeError else error
    with pytest.raises(named, match="enough"), reader.open() as forward:
        forward(x, lambda reading: None)
    assert snapshot(model) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_while_inspecting_leaves_the_model_as_it_was(error: type[BaseException]) -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise error("enough")

    model, x = nn.Sequential(nn.Linear(4, 4), Fails()), torch.rand(2, 4)
    before = snapshot(model)
    expected = ValueError if error is RuntimeError else error
    with pytest.raises(expected, match="enough"):
        TorchReader(model).inspect(x)
    assert snapshot(model) == before


@pytest.mark.parametrize("layers", [None, "block1/add"])
def test_a_forward_can_follow_one_that_was_interrupted(layers: str | None) -> None:
    model, x = ODD_MODELS["residual"]()
    reader, found = TorchReader(model, layers=layers), []

    def interrupt(reading: Reading) -> None:
        if reading.layer == "block1/add":
            raise KeyboardInterrupt

    with reader.open() as forward:
        with pytest.raises(KeyboardInterrupt):
            forward(x, interrupt)
        forward(x, lambda reading: found.append((reading.layer, reading.call)))
    assert found == [(i.layer, i.call) for i in reader.inspect(x).layers]


def test_batch_norm_in_train_mode_is_measured_in_eval_and_keeps_its_statistics() -> None:
    model, x = ODD_MODELS["in_train_mode"]()
    values = []
    with TorchReader(model, layers="2").open() as forward:
        assert not any(m.training for m in model.modules())
        for _ in range(2):
            forward(x, lambda reading: values.append(reading.values.clone()))
    assert torch.equal(*values)  # no dropout
    assert model[1].num_batches_tracked == 0
    assert all(m.training for m in model.modules())


def test_every_module_gets_its_own_mode_back() -> None:
    model, x = ODD_MODELS["in_mixed_modes"]()
    read_all(model, x)
    assert [m.training for m in model] == [True, False, True, True]


def test_a_train_method_with_side_effects_is_not_called() -> None:
    class Merges(nn.Linear):
        def train(self, mode: bool = True) -> Merges:
            raise AssertionError("would merge its adapters")

    read_all(Merges(3, 2), torch.rand(4, 3))


def test_hooks_of_others_stay_and_run_before_ours() -> None:
    model, x = ODD_MODELS["plain_cnn"]()
    handle = model.conv.register_forward_hook(lambda module, args, output: output * 2)
    found = {}
    with TorchReader(model, layers="conv").open() as forward:
        forward(x, lambda reading: found.update({reading.layer: reading.values.clone()}))
    assert list(model.conv._forward_hooks) == [handle.id]
    torch.testing.assert_close(found["conv"], model.conv(x).detach())


class Counts(nn.Module):
    """Writes to itself in its forward in every way: attribute, buffer in place, buffer replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.cache = x
        self.seen += x.detach()[0]
        self.last = x.detach()[-1]
        return x + self.seen


def test_what_a_forward_writes_to_its_module_is_undone() -> None:
    model, x = Counts(), torch.rand(4, 3)
    before = {**snapshot(model), "versions": None}
    read_all(model, x)
    assert {**snapshot(model), "versions": None} == before
    assert model.steps == 0
    assert not hasattr(model, "cache")


def test_an_embedding_that_rescales_its_weights_gets_them_back() -> None:
    model = nn.Sequential(nn.Embedding(6, 4, max_norm=0.5), nn.Linear(4, 2))
    before = model[0].weight.detach().clone()
    read_all(model, torch.arange(6).reshape(3, 2))
    assert torch.equal(model[0].weight, before)


def test_a_model_that_writes_to_its_weights_is_reported() -> None:
    class Decays(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.weight.mul_(0.9)
            return super().forward(x)

    with pytest.warns(RuntimeWarning, match="writes to its own parameter 'weight'"):
        TorchReader(Decays(3, 2)).inspect(torch.rand(4, 3))


def test_a_backward_pass_within_the_forward_does_not_touch_gradients() -> None:
    class Learns(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                super().forward(x).sum().backward()
            return super().forward(x)

    model = Learns(3, 2)
    model.weight.grad = torch.ones(2, 3)
    read_all(model, torch.rand(4, 3))
    assert torch.equal(model.weight.grad, torch.ones(2, 3))
    assert model.bias.grad is None


def test_a_generator_that_the_model_holds_is_put_back() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.torch = torch.Generator().manual_seed(3)
            self.numpy = np.random.default_rng(3)
            self.python = random.Random(3)

        def forward(self, x: Tensor) -> Tensor:
            noise = self.numpy.normal() + self.python.random()
            return x + torch.rand(x.shape, generator=self.torch) + noise

    model = Noisy()
    read_all(model, torch.rand(4, 3))
    assert torch.equal(model.torch.get_state(), torch.Generator().manual_seed(3).get_state())
    assert model.numpy.normal() == np.random.default_rng(3).normal()
    assert model.python.random() == random.Random(3).random()


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) + np.random.rand() + random.random()


def draws(seed: int, forwards: int = 2) -> list[Tensor]:
    found: list[Tensor] = []
    x, reader = torch.zeros(3, 4), TorchReader(nn.Sequential(Draws()))
    with reader.open(seed=seed) as forward:
        for _ in range(forwards):
            forward(x, lambda reading: found.append(reading.values.clone()))
    return found


def test_random_models_draw_from_a_stream_of_their_own_decided_by_the_seed() -> None:
    torch.manual_seed(1)
    first = draws(seed=5)
    torch.rand(7)
    assert all(torch.equal(*pair) for pair in zip(first, draws(seed=5), strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], draws(seed=6)[0])


def test_data_drawn_between_forwards_still_moves_the_global_generator() -> None:
    reader = TorchReader(nn.Sequential(Draws()))
    torch.manual_seed(2)
    wanted = torch.rand(2)
    torch.manual_seed(2)
    with reader.open() as forward:
        first = torch.rand(1)
        forward(torch.zeros(3, 4), lambda reading: None)
        second = torch.rand(1)
    assert torch.equal(torch.cat([first, second]), wanted)


def test_a_random_model_is_noted() -> None:
    notes = TorchReader(nn.Sequential(Draws())).inspect(torch.zeros(3, 4)).notes
    assert notes == ("the forward pass draws random numbers (torch, NumPy, Python)",)


def test_nothing_is_read_when_somebody_runs_the_model_beside_our_forwards() -> None:
    model, x = ODD_MODELS["residual"]()
    found: list[str] = []
    with TorchReader(model).open() as forward:
        forward(x, lambda reading: found.append(reading.layer))
        ours = len(found)
        model(x)
    assert len(found) == ours


def test_a_repeated_tensor_is_kept_until_its_last_repeat_and_no_longer() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Identity(), nn.Identity(), nn.Linear(3, 3), nn.Tanh())
    alive: list[bool] = []
    with TorchReader(model).open() as forward:
        origin: list[weakref.ref[Tensor]] = []

        def sink(reading: Reading) -> None:
            assert reading.values is not None
            if reading.layer == "0":
                origin.append(weakref.ref(reading.values))
            alive.append(origin[0]() is not None)

        forward(torch.rand(4, 3), sink)
    assert alive == [True, True, True, True, False]


def test_no_tensor_outlives_a_forward_that_was_interrupted() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.tanh, self.same = nn.Linear(3, 3), nn.Tanh(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = self.lin(x)
            return self.tanh(x) + self.same(x)

    origin = []

    def sink(reading: Reading) -> None:
        if reading.layer == "tanh":
            raise KeyboardInterrupt
        origin.append(weakref.ref(reading.values))

    with TorchReader(Twice()).open() as forward:
        with pytest.raises(KeyboardInterrupt):
            forward(torch.rand(4, 3), sink)
        gc.collect()
        assert [reference() for reference in origin] == [None]


@pytest.mark.parametrize("name", ["plain_cnn", "in_place_relu", "shared_module"])
def test_no_function_mode_is_installed_without_functional_operations(name: str) -> None:
    assert not any(_modes_during_forward(*ODD_MODELS[name]()))


def test_a_function_mode_is_installed_for_functional_operations() -> None:
    assert all(_modes_during_forward(*ODD_MODELS["residual"]()))


def _modes_during_forward(model: nn.Module, x: Tensor) -> Iterator[int]:
    found: list[int] = []
    reader = TorchReader(model)
    reader.inspect(x)
    handle = next(model.children()).register_forward_pre_hook(
        lambda module, args: found.append(torch._C._len_torch_function_stack())
    )
    with reader.open() as forward:
        forward(x, lambda reading: None)
    handle.remove()
    return iter(found)


def test_only_layers_that_are_read_get_hooks() -> None:
    model, x = ODD_MODELS["plain_cnn"]()
    with TorchReader(model, layers="relu").open() as forward:
        forward(x, lambda reading: None)
        hooked = [name for name, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooked == ["relu"]


def test_warnings_of_the_model_are_not_swallowed() -> None:
    class Warns(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            warnings.warn("look out", UserWarning, stacklevel=1)
            return x

    with pytest.warns(UserWarning, match="look out"):
        TorchReader(nn.Sequential(nn.Linear(2, 2), Warns())).inspect(torch.rand(2, 2))
