"""Measurements beside threads that run or measure the same model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import invariscope as iv
from invariscope.anatomy.partial_forward import up_to
from invariscope.readers import TorchReader
from invariscope.readers.torch.preserve import preserved

pytestmark = pytest.mark.usefixtures("seeded")

WAIT = 30.0


class Net(nn.Module):
    """Modules, operations, dropout and batch normalisation; forwards can be held up in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.last = nn.Linear(8, 4)
        self.middle: Callable[[], None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu(self.norm(self.first(x))))
        if self.middle is not None:
            self.middle()
        return self.last(x + x.roll(1, 1))


class Served:
    """A thread that runs the model until it is stopped, and notes what comes back."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model, self.x = model, x
        self.errors: list[Exception] = []
        self.modes: set[bool] = set()
        self.outputs: list[Tensor] = []
        self.stopped, self.ran = threading.Event(), threading.Event()

    def __call__(self) -> None:
        while not self.stopped.is_set():
            try:
                with torch.no_grad():
                    output = self.model(self.x)
                if not any(torch.equal(output, other) for other in self.outputs):
                    self.outputs.append(output)
            except Exception as error:
                self.errors.append(error)
            self.ran.set()


@contextmanager
def serving(model: nn.Module, x: Tensor) -> Iterator[Served]:
    served = Served(model, x)
    thread = threading.Thread(target=served, daemon=True)
    thread.start()
    assert served.ran.wait(WAIT)
    try:
        yield served
    finally:
        served.stopped.set()
        thread.join(WAIT)
        assert not thread.is_alive()


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Starts it; the result waits for it."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(WAIT)
        assert not thread.is_alive()
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    result.alive = thread.is_alive  # type: ignore[attr-defined]
    return result


ELEMENTS = [lambda x: x, lambda x: x.roll(1, 1), lambda x: -x]


def values(model: nn.Module, x: Tensor, **options: Any) -> list[Any]:
    found = iv.measure(model, x, ELEMENTS, progress=False, **options).table
    return [found.layer.tolist(), found.value.tolist()]


@pytest.mark.parametrize("layers", [None, "*", "add"])
def test_numbers_are_the_same_beside_a_thread_that_serves_the_model(layers: str | None) -> None:
    model, x = Net().eval(), torch.randn(48, 8)
    expected, answer = values(model, x, layers=layers, batch_size=6), model(x[:3]).detach()
    with serving(model, x[:3]) as served:
        found = [values(model, x, layers=layers, batch_size=6) for _ in range(3)]
    assert found == [expected] * 3
    assert served.errors == []
    assert all(torch.equal(output, answer) for output in served.outputs)


def test_a_forward_in_another_thread_during_ours_is_not_read() -> None:
    model, x = Net().eval(), torch.randn(12, 8)
    expected = values(model, x)
    nested: list[Tensor] = []

    def serve_one() -> None:  # between two layers of our forward, a whole one of another thread
        model.middle = None
        nested.append(in_thread(lambda: model(x[:5]).detach())())
        model.middle = serve_one

    model.middle = serve_one
    assert values(model, x) == expected
    model.middle = None
    assert all(torch.equal(output, model(x[:5]).detach()) for output in nested)


def test_a_forward_up_to_a_layer_does_not_stop_forwards_in_other_threads() -> None:
    model, x = Net().eval(), torch.randn(4, 8)
    expected, answer = model(x).detach(), model(-x).detach()
    served: list[Any] = []

    def serve_one() -> None:
        model.middle = None
        served.append(in_thread(lambda: model(-x).detach())())

    model.middle = serve_one
    with up_to(model, "last") as run:
        assert torch.equal(run(x).detach(), expected)
    assert torch.equal(served[0], answer)


def test_responses_in_a_graph_are_those_of_this_thread() -> None:
    from invariscope.readers.torch.in_graph import responses_in_graph

    model, x = Net().eval(), torch.randn(4, 8)

    def serve_one() -> None:
        model.middle = None
        in_thread(lambda: model(x))()

    model.middle = serve_one
    found = responses_in_graph(model, x)
    assert [call for _, call in found] == [0] * len(found)


@pytest.mark.parametrize("part", [False, True])
def test_two_measurements_of_one_model_wait_for_each_other(part: bool) -> None:
    model, x = Net().train(), torch.randn(12, 8)
    other = model.first if part else model
    expected = values(other, x)
    with TorchReader(model).open() as forward:
        forward(x, lambda reading: None)
        second = in_thread(lambda: values(other, x))
        forward(x, lambda reading: None)
        threading.Event().wait(0.2)
        assert second.alive()
    assert second() == expected
    assert all(module.training for module in model.modules())


def test_measurements_of_different_models_do_not_wait() -> None:
    first, second, x = Net().eval(), Net().eval(), torch.randn(12, 8)
    expected = values(second, x)
    fast = torch.backends.mha.get_fastpath_enabled()
    with preserved(first):
        assert in_thread(lambda: values(second, x))() == expected
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_a_nested_measurement_in_the_same_thread_does_not_wait() -> None:
    model, x = Net().train(), torch.randn(12, 8)
    expected, inner = values(model, x), []
    found = iv.measure(
        model, x, ELEMENTS, progress=lambda done, total: inner.append(values(model, x)), batch_size=12
    ).table
    assert found.layer.tolist() == expected[0]
    np.testing.assert_allclose(found.value, expected[1], rtol=1e-6)  # other blocks round differently
    assert inner
    assert all(one == expected for one in inner)
    assert all(module.training for module in model.modules())


def test_all_kinds_of_measurements_at_once_leave_the_model_as_it_was() -> None:
    model, x = Net().train(), torch.randn(16, 8)
    monitor = iv.Monitor(x, ELEMENTS, measures="normalized_variance")
    calls: list[Callable[[], Any]] = [
        lambda: values(model, x),
        lambda: iv.assert_invariant(model, x, ELEMENTS, below=100.0),
        lambda: values(model, x, precision="float64")[0],
        lambda: monitor(model, 0),
        lambda: values(model, x),
    ]
    results = [in_thread(call) for call in calls]
    found = [result() for result in results]
    assert found[0] == found[4] == values(model, x)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_models_that_draw_keep_their_own_streams_in_two_threads() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + torch.rand(len(x), 4)

    def measured(model: nn.Module, x: Tensor) -> list[Any]:
        found: list[Any] = []
        with TorchReader(model).open(seed=3) as forward:
            for _ in range(20):
                forward(x, lambda reading: found.append(reading.values.tolist()))
        return found

    models, x = [Noisy(), Noisy()], torch.randn(6, 8)
    expected = [measured(model, x) for model in models]
    before = torch.get_rng_state()
    results = [in_thread(lambda model=model: measured(model, x)) for model in models]
    assert [result() for result in results] == expected
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_that_a_forward_runs_in_threads_of_its_own_are_skipped_and_not_called_unused() -> None:
    class Spread(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.other, self.never = nn.Linear(8, 2), nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            found: list[Tensor] = []
            worker = threading.Thread(target=lambda: found.append(self.first(x)))
            worker.start()
            worker.join()
            return found[0] + self.other(x)

    inspection = TorchReader(Spread()).inspect(torch.rand(5, 8))
    statuses = {info.layer: info.status for info in inspection.layers}
    assert statuses.keys() == {"first", "other", "add"}
    assert "another thread" in statuses["first"]
    assert statuses["other"] == statuses["add"] == "ok"
    assert inspection.unused == ("never",)
