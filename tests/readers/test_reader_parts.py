"""The parts of the readers, each with a known answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invariscope.readers import TorchReader, depends_on_batch
from invariscope.readers.torch.aliases import memory_layout
from invariscope.readers.torch.axes import BatchAxis, find_batch_axis, order_rows
from invariscope.readers.torch.functions import operation_name
from odd_models import ODD_MODELS, UNSTABLE_MODELS

pytestmark = pytest.mark.usefixtures("seeded")

# --- the batch axis -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("small", "large", "wanted"),
    [
        ((2, 5), (3, 5), BatchAxis(0)),
        ((3, 2, 5), (3, 3, 5), BatchAxis(1)),
        ((2, 2, 3), (2, 3, 3), BatchAxis(1)),
        ((8, 5), (12, 5), BatchAxis(0, per_sample=4)),
        ((1, 6, 5), (1, 9, 5), BatchAxis(1, per_sample=3)),
        ((2,), (3,), BatchAxis(0)),
    ],
)
def test_the_axis_that_follows_the_batch_is_found(
    small: tuple[int, ...], large: tuple[int, ...], wanted: BatchAxis
) -> None:
    assert find_batch_axis(small, large, (2, 3)) == wanted


@pytest.mark.parametrize(
    ("small", "large", "reason"),
    [
        ((), (), "no axis follows"),
        ((5, 5), (5, 5), "no axis follows"),
        ((3, 5), (4, 5), "no axis follows"),
        ((0, 5), (0, 5), "no axis follows"),
        ((2, 4), (3, 6), "axes 0 and 1 both follow"),
        ((2, 2, 2), (3, 3, 3), "axes 0 and 1 and 2 all follow"),
        ((2, 5), (3, 5, 1), "its number of axes depends"),
    ],
)
def test_no_or_several_axes_are_a_reason(small: tuple[int, ...], large: tuple[int, ...], reason: str) -> None:
    found = find_batch_axis(small, large, (2, 3))
    assert isinstance(found, str)
    assert found.startswith(reason)


@pytest.mark.parametrize("sample_major", [True, False])
def test_rows_are_arranged_by_sample_in_either_order(sample_major: bool) -> None:
    values = torch.arange(24.0).reshape(3, 4, 2)  # sample, row, unit
    rows = values.flatten(0, 1) if sample_major else values.transpose(0, 1).flatten(0, 1)
    axis = BatchAxis(0, per_sample=4, sample_major=sample_major)
    assert torch.equal(axis.arrange(rows, 3), values)
    changed = values.clone()
    changed[0] += 1
    after = changed.flatten(0, 1) if sample_major else changed.transpose(0, 1).flatten(0, 1)
    assert order_rows(BatchAxis(0, per_sample=4), rows, after, 3) == axis


def test_rows_that_mix_samples_are_a_reason() -> None:
    found = order_rows(BatchAxis(0, per_sample=2), torch.zeros(6, 2), torch.ones(6, 2), 3)
    assert found == "axis 0 has 2 rows per sample in an order that mixes samples"


def test_rows_of_samples_before_rows_of_none_are_not_taken_for_whole_samples() -> None:
    before = torch.zeros(12, 2)
    after = before.clone()
    after[[0, 1, 4, 5]] = 1  # two rows of each of three samples, then six that nothing moves
    found = order_rows(BatchAxis(0, per_sample=4), before, after, 3)
    assert found == "axis 0 has 4 rows per sample in an order that mixes samples"


def test_numbers_of_several_entities_per_sample_are_not_units() -> None:
    found = order_rows(BatchAxis(0, per_sample=4), torch.zeros(12), torch.ones(12), 3)
    assert str(found).startswith("axis 0 holds several numbers per sample, one for each of several entities")


def test_arranging_never_copies() -> None:
    values = torch.rand(5, 12, 3)
    for axis in (BatchAxis(1), BatchAxis(1, 4), BatchAxis(1, 4, sample_major=False)):
        assert axis.arrange(values, 12 // axis.per_sample).data_ptr() == values.data_ptr()


# --- aliases --------------------------------------------------------------------------------------------


def test_equal_walks_visit_the_same_values_in_the_same_order() -> None:
    maps = torch.rand(2, 3, 4, 5)
    same = [maps.flatten(1), maps.flatten(2), maps.view(2, 3, 20), maps.unsqueeze(2)]
    other = [maps.transpose(2, 3), maps[:, :, :2], maps[:1], maps.permute(0, 2, 3, 1), maps.double()]
    assert all(memory_layout(view) == memory_layout(maps) for view in same)
    assert not any(memory_layout(view) == memory_layout(maps) for view in other)


# --- operations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("add", "add"),
        ("add_", "add"),
        ("__radd__", "add"),
        ("__isub__", "sub"),
        ("__rsub__", "sub"),
        ("__rdiv__", "div"),
        ("true_divide", "div"),
        ("__rpow__", "pow"),
        ("__matmul__", "matmul"),
        ("__floordiv__", "floor_divide"),
        ("relu_", "relu"),
        ("conv2d.default", "conv2d"),
        ("scaled_dot_product_attention", "scaled_dot_product_attention"),
        ("concat", "cat"),
        ("normal", "normal"),
        *((raw, None) for raw in ("view", "__getitem__", "__get__", "zeros_like", "clone", "to", "pad")),
        *((raw, None) for raw in ("normal_", "copy_", "detach_", "transpose", "chunk", "arange", "__len__")),
    ],
)
def test_operations_have_one_name_and_views_copies_and_constants_none(raw: str, name: str | None) -> None:
    assert operation_name(raw) == name


def test_views_indexing_and_constants_are_not_layers() -> None:
    class Shuffles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            noise = torch.zeros(len(x), 2, 2)
            y = x.view(-1, 2, 2).transpose(1, 2)[:, [1, 0]].flip(1).contiguous().clone().float()
            return y.squeeze().to(torch.float32) + noise

    assert [i.layer for i in TorchReader(Shuffles()).inspect(torch.rand(4, 4)).layers] == ["add"]


def test_arithmetic_on_weights_is_not_a_layer() -> None:
    model, x = ODD_MODELS["functional_only"]()
    names = {i.layer for i in TorchReader(model).inspect(x).layers}
    assert not names & {"norm", "div"}


def test_an_operation_with_several_results_gives_each() -> None:
    class Extremes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.topk(2, dim=1).values

    infos = TorchReader(Extremes()).inspect(torch.rand(4, 5)).layers
    assert [(i.layer, i.shape, i.status) for i in infos] == [("topk", (2,), "ok")]


# --- stability ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_MODELS)
def test_stable_models_are_found_stable(name: str) -> None:
    model, x = ODD_MODELS[name]()
    assert not depends_on_batch(TorchReader(model), x)


def test_functional_dropout_is_found_with_its_size_and_place() -> None:
    model, x = UNSTABLE_MODELS["functional_dropout"]()
    found = depends_on_batch(TorchReader(model), x)
    assert found
    assert found.chance > 0.5
    assert found.chance_layer == "dropout"
    assert "depends on chance or on earlier inputs" in str(found)
    assert "the same inputs gave different responses, first in 'dropout'" in str(found)


def test_batch_statistics_are_found_with_their_size_and_place() -> None:
    model, x = UNSTABLE_MODELS["batch_statistics"]()
    found = depends_on_batch(TorchReader(model), x)
    assert found.chance == 0
    assert found.neighbours > 0.01
    assert found.neighbours_layer == "bn"
    assert "depends on the other inputs of its batch, first in 'bn'" in str(found)


def test_a_recurrence_that_runs_along_the_batch_is_found() -> None:
    model, x = UNSTABLE_MODELS["lstm_along_the_batch"]()
    assert depends_on_batch(TorchReader(model), x).neighbours > 0.01


def test_batch_statistics_are_found_with_two_different_inputs() -> None:
    model, x = UNSTABLE_MODELS["batch_statistics"]()
    assert depends_on_batch(TorchReader(model), x[:2]).neighbours


def test_dropout_in_train_mode_is_not_chance_since_models_are_measured_in_eval_mode() -> None:
    model, x = ODD_MODELS["in_train_mode"]()
    assert not depends_on_batch(TorchReader(model), x)


def test_a_generator_of_the_model_counts_as_chance() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(3)

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(x.shape, generator=self.generator)

    assert depends_on_batch(TorchReader(nn.Sequential(Noisy())), torch.rand(4, 3)).chance


def test_a_stable_report_is_false_and_says_so() -> None:
    model, x = ODD_MODELS["plain_cnn"]()
    assert str(depends_on_batch(TorchReader(model), x)) == (
        "the response to an input depends on nothing but the input"
    )
