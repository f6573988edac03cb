"""How many inputs each forward takes: numbers do not depend on it, and too many are halved."""

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.engine.memory import out_of_memory
from invariscope.engine.pace import Pace

ELEMENTS = iv.QuarterTurns()


LATE = []
SIZES = []


@pytest.fixture(autouse=True)
def _empty():
    """Start with empty records, which are outside the model, whose attributes a reader restores."""
    SIZES.clear()
    LATE.clear()


class Recording(nn.Module):
    """A network that records the number of inputs of its forwards, and fails for more than `most`."""

    def __init__(self, most=10**9, error=torch.OutOfMemoryError):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 3, 3)
        self.relu = nn.ReLU(inplace=True)
        self.late = nn.Linear(3 * 36, 4)
        self.most, self.error = most, error

    def forward(self, x):
        SIZES.append(len(x))
        y = self.first(x)
        if len(x) > self.most:
            raise self.error("out of memory")
        y = self.relu(y)
        LATE.append(len(x))
        return self.late(y.flatten(1))


def recorded(model, **options):
    """Return the result of a measurement, the sizes of its forwards, and how many inputs passed each end."""
    SIZES.clear()
    LATE.clear()
    return measured(model, **options), list(SIZES), sum(LATE)


def images(count=20):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def measured(model, **options):
    options = {"progress": False, "measures": ["nv", "same_equivariance", "prediction"]} | options
    return iv.measure(model, images(), ELEMENTS, **options)


def assert_same(one, other, rtol=1e-5):
    assert [row.place for row in one.rows] == [row.place for row in other.rows]
    values = np.array([[a.value, b.value] for a, b in zip(one.rows, other.rows, strict=True)])
    np.testing.assert_allclose(*values.T, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_an_orbit_larger_than_a_batch_is_forwarded_in_parts(batch_size):
    result, sizes, _ = recorded(Recording(), batch_size=batch_size)
    assert_same(result, measured(Recording(), batch_size=64))
    assert max(sizes) <= max(batch_size, 4)  # checks use batches of four


def test_a_batch_that_does_not_fit_in_memory_is_halved_until_it_does():
    result, sizes, _ = recorded(Recording(most=9), batch_size=64)
    assert_same(result, measured(Recording(), batch_size=8))
    assert any("memory for" in note for note in result.provenance["notes"])
    assert [size for size in sizes if size > 9] == [64, 32, 16]


def test_one_input_that_does_not_fit_in_memory_is_an_error():
    with pytest.raises(ValueError, match="out of memory"):
        measured(Recording(most=0))


def test_another_error_of_the_model_is_no_lack_of_memory():
    assert not out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(ValueError, match="shapes differ"):
        measured(Recording(most=9, error=lambda _: RuntimeError("shapes differ")), batch_size=64)
    assert [size for size in SIZES if size > 9] == [64]


def test_a_forward_stops_after_the_last_layer_that_is_asked_for():
    early, sizes, late = recorded(Recording(), layers="first", measures="nv", batch_size=4)
    every, _, all_late = recorded(Recording(), measures="nv", batch_size=4)
    assert early.rows[0].value == pytest.approx(every.rows[0].value, rel=1e-6)
    assert sum(sizes) - late >= 16  # blocks that are not checked
    assert all_late - late >= 16


def test_a_forward_does_not_stop_if_the_output_is_measured():
    _, sizes, late = recorded(Recording(), layers="first")
    assert sum(sizes) == late


def test_a_model_that_catches_exceptions_is_stopped_too():
    class Catching(Recording):
        def forward(self, x):
            try:
                return super().forward(x)
            except Exception:
                return torch.zeros(len(x), 4)

    result = measured(Catching(), layers="first", measures="nv")
    assert result.rows[0].value == pytest.approx(measured(Recording(), measures="nv").rows[0].value, rel=1e-6)


def test_layers_that_do_not_always_run_are_still_found_when_forwards_stop_early():
    class Sometimes(Recording):
        def forward(self, x):
            y = self.first(x)
            if x.mean() < 0.53:
                y = self.relu(y)
            return self.late(y.flatten(1))

    result = measured(Sometimes(), layers=["first", "relu"], measures="nv", batch_size=4)
    assert {row.layer for row in result.rows} == {"first"}


def chosen(seconds_per_input, rows=16):
    """Return the sizes that a pace tries, and the one that it keeps, given the time of each size."""
    pace, tried = Pace(tries=True), []
    for _ in range(20):
        if not pace.tries:
            break
        size = pace.parts(rows)[0].stop
        tried.append(size)
        pace.seconds.setdefault(size, []).append(seconds_per_input[size])
        if pace._next(rows) is None:
            pace.most, pace.tries = pace._fastest(rows), False
    return tried, pace.parts(rows)[0].stop


def test_the_fastest_number_of_inputs_is_kept_after_a_few_blocks():
    tried, kept = chosen({16: 2.0, 8: 1.2, 4: 1.0})
    assert tried == [16, 8, 4, 16, 8, 4]
    assert kept == 4


def test_whole_blocks_are_kept_unless_parts_are_clearly_faster():
    assert chosen({16: 1.0, 8: 0.97, 4: 1.5})[1] == 16


def test_a_number_that_is_far_slower_is_tried_once():
    assert chosen({16: 1.0, 8: 1.1, 4: 5.0})[0].count(4) == 1
