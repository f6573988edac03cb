"""The values read are those that the layers produced, for every odd model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from reader_oracles import ORACLES, Readings, inspected, read
from torch import Tensor, nn

from invariscope.readers import Reading, TorchReader
from odd_models import ODD_MODELS

pytestmark = pytest.mark.usefixtures("seeded")


def expected(name: str, model: nn.Module, x: Tensor) -> Readings:
    """The oracle's readings, on a copy in eval mode (a wrapped forward cannot be copied)."""
    model = model if name == "wrapped_forward" else copy.deepcopy(model)
    dtype = next((w.dtype for w in model.parameters()), x.dtype)
    with torch.no_grad():
        return ORACLES[name](model.eval(), x.to(dtype))


def test_every_odd_model_has_an_oracle() -> None:
    assert set(ORACLES) == set(ODD_MODELS)


@pytest.mark.parametrize("name", ODD_MODELS)
def test_every_reading_equals_the_forward_written_out_by_hand(name: str) -> None:
    model, x = ODD_MODELS[name]()
    found, wanted = read(TorchReader(model), x), expected(name, model, x)
    assert set(found) == set(wanted)
    for key, values in wanted.items():
        torch.testing.assert_close(found[key], values, rtol=1e-5, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", ODD_MODELS)
def test_readings_do_not_depend_on_the_number_of_inputs(name: str) -> None:
    model, x = ODD_MODELS[name]()
    reader = TorchReader(model)
    whole, first = read(reader, x), read(reader, x[:1])
    loose = {"rtol": 0.05, "atol": 0.05} if name == "bf16_model" else {"rtol": 1e-4, "atol": 1e-5}
    for key, values in first.items():
        torch.testing.assert_close(values, whole[key][:1], **loose)


@pytest.mark.parametrize("name", ODD_MODELS)
def test_inspection_lists_what_a_forward_reads_in_its_order(name: str) -> None:
    inspection, reader, x = inspected(name)
    found = read(reader, x)
    listed = {(i.layer, i.call): i.shape for i in inspection.layers if i.status == "ok"}
    assert list(listed.items()) == [(key, tuple(values.shape[1:])) for key, values in found.items()]


@pytest.mark.parametrize("name", ODD_MODELS)
def test_an_alias_holds_the_values_of_its_original(name: str) -> None:
    inspection, reader, x = inspected(name)
    found = read(reader, x)
    for info in inspection.layers:
        if info.alias_of is not None:
            assert torch.equal(
                found[info.layer, info.call].flatten(1), found[info.alias_of].reshape(len(x), -1)
            )


@pytest.mark.parametrize("name", ODD_MODELS)
def test_the_model_returns_what_it_returns_without_us(name: str) -> None:
    model, x = ODD_MODELS[name]()
    dtype = next((w.dtype for w in model.parameters()), x.dtype)
    with TorchReader(model).open() as forward:
        ours = forward(x, lambda reading: None)
    with torch.no_grad():
        plain = model.eval()(x.to(dtype).clone())
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(ODD_MODELS) - {"wrapped_forward"}))
def test_a_double_copy_agrees_with_the_model_itself(name: str) -> None:
    model, x = ODD_MODELS[name]()
    before = [weight.dtype for weight in model.parameters()]
    rough = {"rtol": 0.05, "atol": 0.05} if name == "bf16_model" else {"rtol": 1e-4, "atol": 1e-4}
    reader = TorchReader(model)
    single, double = read(reader, x), read(reader, x, precision="float64")
    for key, values in double.items():
        assert values.dtype == torch.float64
        torch.testing.assert_close(single[key].double(), values, **rough)
    assert [weight.dtype for weight in model.parameters()] == before


@pytest.mark.parametrize("name", ["plain_cnn", "residual", "channels_last_model", "transformer_encoder"])
def test_a_bf16_copy_reads_the_same_layers_roughly(name: str) -> None:
    model, x = ODD_MODELS[name]()
    reader = TorchReader(model)
    single, coarse = read(reader, x), read(reader, x, precision="bf16")
    assert list(coarse) == list(single)
    for key, values in coarse.items():
        assert values.dtype == torch.bfloat16
        torch.testing.assert_close(single[key], values.float(), rtol=0.1, atol=0.1)
    assert next(model.parameters()).dtype == torch.float32


def test_a_bf16_copy_of_images_is_channels_last() -> None:
    model, x = ODD_MODELS["channels_last_model"]()
    formats = []
    with TorchReader(model, layers="0").open(precision="bf16") as forward:
        forward(
            x, lambda reading: formats.append(reading.values.is_contiguous(memory_format=torch.channels_last))
        )
    assert formats == [True]


def test_reading_is_not_fooled_by_an_in_place_relu_after_batch_norm() -> None:
    model, x = ODD_MODELS["in_place_relu"]()
    found = read(TorchReader(model), x)
    assert found["bn", 0].min() < 0 <= found["relu", 0].min()
    assert found["relu", 0].max() > 0.3 >= found["again", 0].max()


def test_a_value_is_handed_over_before_a_later_operation_overwrites_it() -> None:
    model, x = ODD_MODELS["in_place_relu"]()
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    with TorchReader(model).open() as forward:
        forward(x, lambda r: kept.update({r.layer: (r.values, r.values.clone())}))
    assert not torch.equal(*kept["bn"])  # the memory was overwritten, the clone taken in the sink was not


def test_an_in_place_relu_is_not_an_alias_of_its_input() -> None:
    aliases = {i.layer: i.alias_of for i in inspected("in_place_relu")[0].layers}
    assert aliases == dict.fromkeys(aliases)


def test_an_in_place_relu_that_happens_to_change_nothing_is_not_an_alias_either() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    model = nn.Sequential(Square(), nn.ReLU(inplace=True))
    assert [i.alias_of for i in TorchReader(model).inspect(torch.rand(4, 3)).layers] == [None, None]


def test_identity_dropout_and_flatten_repeat_their_input_and_transposition_and_relu_do_not() -> None:
    aliases = {i.layer: i.alias_of for i in inspected("repeats")[0].layers}
    assert aliases == {
        "conv": None,
        "same": ("conv", 0),
        "drop": ("conv", 0),
        "turned": None,
        "flat": None,  # a copy: transposed maps cannot be flattened in place
        "relu": None,
        "drop2": ("relu", 0),
    }


def test_an_alias_refers_to_a_layer_that_is_read() -> None:
    model, x = ODD_MODELS["repeats"]()
    chosen = TorchReader(model, layers=["drop", "same"]).inspect(x).layers
    assert [(i.layer, i.alias_of) for i in chosen] == [("same", None), ("drop", ("same", 0))]


def test_a_write_that_the_version_counter_misses_is_not_an_alias() -> None:
    class Sly(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x.data.clamp_(min=0.5)
            return x

    model = nn.Sequential(nn.Linear(3, 4), Sly())
    assert [i.alias_of for i in TorchReader(model).inspect(torch.rand(4, 3)).layers] == [None, None]


def test_memory_that_is_used_again_is_not_an_alias() -> None:
    model, x = nn.Sequential(*[nn.Linear(64, 64) for _ in range(6)]), torch.rand(4, 64)
    infos = TorchReader(model).inspect(x).layers
    assert [i.alias_of for i in infos] == [None] * 6


def test_a_part_of_a_tensor_is_not_an_alias_of_the_whole() -> None:
    class Head(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2]

    model = nn.Sequential(nn.Linear(3, 4), Head())
    assert [i.alias_of for i in TorchReader(model).inspect(torch.rand(4, 3)).layers] == [None, None]


def test_an_alias_that_no_longer_repeats_is_read_separately() -> None:
    class Moody(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(min=0) if len(x) > 3 else x

    reader = TorchReader(nn.Sequential(nn.Linear(3, 4), Moody()))
    reader.inspect(torch.rand(3, 3))
    readings: list[Reading] = []
    with reader.open() as forward:
        for rows in (3, 5):
            forward(torch.rand(rows, 3), readings.append)
    assert [r.alias_of for r in readings] == [None, ("0", 0), None, None]


def test_a_copy_with_equal_values_may_stand_for_an_alias() -> None:
    class Copies(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clone() if len(x) > 3 else x

    reader = TorchReader(nn.Sequential(nn.Linear(3, 4), Copies()))
    reader.inspect(torch.rand(3, 3))
    aliases = []
    with reader.open() as forward:
        forward(torch.rand(5, 3), lambda reading: aliases.append(reading.alias_of))
    assert aliases == [None, ("0", 0)]


def test_all_calls_of_a_shared_module_are_read() -> None:
    infos = inspected("shared_module")[0].layers
    assert [(i.layer, i.call) for i in infos] == [("mix", 0), ("act", 0), ("mix", 1), ("act", 1), ("mix", 2)]


def test_residual_sums_and_functional_activations_are_seen_with_their_calls() -> None:
    functions = [(i.layer, i.call, i.kind) for i in inspected("residual")[0].layers if "/" in i.layer]
    assert functions[:4] == [
        ("block1/relu", 0, "function relu"),
        ("block1/add", 0, "function add"),
        ("block1/relu", 1, "function relu"),
        ("block1/add", 1, "function add"),
    ]


def test_what_the_sink_computes_is_not_an_operation_of_the_model() -> None:
    model, x = ODD_MODELS["residual"]()
    plain = read(TorchReader(model), x)
    found: list[tuple[str, int]] = []

    def busy(reading: Any) -> None:
        torch.relu(reading.values + 1).mean((0,))
        found.append((reading.layer, reading.call))

    with TorchReader(model).open() as forward:
        forward(x, busy)
    assert found == list(plain)


def test_attention_that_would_take_the_fast_path_is_read_layer_by_layer() -> None:
    inspection, reader, x = inspected("transformer_encoder")
    names = [i.layer for i in inspection.layers]
    assert "layers.1.linear1" in names
    assert "layers.1/relu" in names
    assert inspection.unused == ("layers.0.self_attn.out_proj", "layers.1.self_attn.out_proj")
    assert any("fast path" in note for note in inspection.notes)
    with reader.open() as forward:
        forward(x, lambda reading: None)
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("name", ["lstm_sequence_first", "attention_sequence_first", "sequence_first"])
def test_the_batch_axis_of_sequence_first_layers_is_found(name: str) -> None:
    _, reader, x = inspected(name)
    axes = []
    with reader.open() as forward:
        forward(x, lambda reading: axes.append(reading.batch_axis))
    assert 1 in axes


def test_layers_that_cannot_be_measured_are_listed_with_the_reason() -> None:
    reasons = {i.layer: i.status for i in inspected("refused_layers")[0].layers}
    assert reasons == {
        "lin": "ok",
        "similarity": "axes 0 and 1 both follow the batch size: choose one with batch_axis=",
        "spectrum": "its values are complex64, not real floating-point numbers",
        "total": "no axis follows the batch size",
    }


def test_sparse_values_are_listed_as_skipped() -> None:
    class Sparse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.to_sparse()

    model = nn.Sequential(nn.Linear(3, 2), Sparse())
    infos = TorchReader(model).inspect(torch.rand(3, 3)).layers
    assert [i.status for i in infos] == ["ok", "its tensor is not dense"]


def test_an_output_without_any_tensor_is_listed_as_skipped() -> None:
    class Label(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "cat"

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.label = nn.Linear(3, 2), Label()

        def forward(self, x: Tensor) -> str:
            return self.label(self.lin(x))

    inspection = TorchReader(Net()).inspect(torch.rand(3, 3))
    assert [i.status for i in inspection.layers] == ["ok", "it returned a str instead of a tensor"]
    assert inspection.output is None


def test_indices_are_listed_as_skipped() -> None:
    status = {i.layer: i.status for i in inspected("many_outputs")[0].layers}["index"]
    assert status == "its values are int64, not real floating-point numbers"


@pytest.mark.parametrize(
    ("batch_axis", "columns"), [(1, True), ({"similarity": 0}, False), ({"sim*": -1}, True)]
)
def test_batch_axis_settles_what_two_sizes_cannot(batch_axis: Any, columns: bool) -> None:
    model, x = ODD_MODELS["refused_layers"]()
    model.similarity.forward = lambda v: v @ v.T + torch.arange(len(v))  # columns now differ from rows
    found = read(TorchReader(model, batch_axis=batch_axis), x)["similarity", 0]
    with torch.no_grad():
        whole = model.lin(x) @ model.lin(x).T + torch.arange(len(x))
    torch.testing.assert_close(found, whole.T if columns else whole)
