"""Models at the edge of what can be read: compiled, scripted, mapped, failing, depending on their data."""

from __future__ import annotations

import pytest
import torch
from reader_oracles import inspected, read
from torch import Tensor, nn

from invariscope.readers import Reading, TorchReader
from invariscope.readers.torch.axes import NO_UNITS
from invariscope.readers.torch.plan import UNEVEN
from odd_models import ODD_MODELS

pytestmark = pytest.mark.usefixtures("seeded")


def test_a_scripted_module_gives_its_output_and_says_so() -> None:
    inspection, *_ = inspected("scripted_inside")
    assert [(i.layer, i.kind) for i in inspection.layers] == [
        ("0", "Tanh"),
        ("1", "Sequential"),
        ("2", "Linear"),
    ]
    assert inspection.notes == ("only the outputs of traced or scripted modules are read: 1",)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_that_is_traced_as_a_whole_gives_its_output() -> None:
    model, x = ODD_MODELS["plain_cnn"]()
    with torch.no_grad():
        traced = torch.jit.trace(model, x)
    found = read(TorchReader(traced), x)
    assert list(found) == [("Sequential", 0)]
    torch.testing.assert_close(found["Sequential", 0], model(x).detach())


def test_a_compiled_model_is_read_uncompiled() -> None:
    model, x = ODD_MODELS["plain_cnn"]()
    compiled = torch.compile(model, backend="eager")
    reader = TorchReader(compiled)  # type: ignore[arg-type]
    inspection = reader.inspect(x)
    assert reader.name == "Sequential"
    assert [i.layer for i in inspection.layers] == [i.layer for i in TorchReader(model).inspect(x).layers]
    assert "the compiled model is read uncompiled" in inspection.notes


def test_a_model_compiled_in_place_is_read_uncompiled_and_stays_compiled() -> None:
    model, x = ODD_MODELS["plain_cnn"]()
    model.compile(backend="eager")
    call = model._compiled_call_impl
    inspection = TorchReader(model).inspect(x)
    assert len(inspection.layers) == 6
    assert "the compiled model is read uncompiled" in inspection.notes
    assert model._compiled_call_impl is call


def test_values_inside_vmap_are_skipped_with_the_reason() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.vmap(self.lin)(x))

    status = {i.layer: i.status for i in TorchReader(Mapped()).inspect(torch.rand(4, 3)).layers}
    assert status["out"] == "ok"
    assert "vmap" in status["lin"]


def test_a_forward_in_inference_mode_is_read_without_aliases() -> None:
    class Inference(nn.Sequential):
        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    model = Inference(nn.Linear(3, 4), nn.Identity())
    infos = TorchReader(model).inspect(torch.rand(4, 3)).layers
    assert [(i.layer, i.alias_of, i.status) for i in infos] == [("0", None, "ok"), ("1", None, "ok")]


def test_measuring_within_inference_mode_works_and_finds_aliases() -> None:
    model, x = ODD_MODELS["repeats"]()
    outside = TorchReader(model).inspect(x)
    with torch.inference_mode():
        inside = TorchReader(model).inspect(x.clone())
        found = read(TorchReader(model), x.clone())
    assert inside == outside
    assert len(found) == 7


def test_inputs_from_inference_mode_are_read_like_others() -> None:
    model = nn.Sequential(nn.Identity(), nn.Identity(), nn.Linear(3, 2))
    with torch.inference_mode():
        x = torch.rand(4, 3)
    assert list(read(TorchReader(model), x)) == [("0", 0), ("1", 0), ("2", 0)]


def test_layers_inside_a_caught_error_do_not_confuse_the_names() -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            torch.relu(self.lin(x))
            raise RuntimeError("no luck")

    class Falls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Breaks(), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            try:
                x = self.first(x)
            except RuntimeError:
                x = self.second(x)
            return torch.relu(x)

    found = read(TorchReader(Falls()), torch.rand(4, 3))
    assert [key[0] for key in found] == ["first.lin", "first/relu", "second", "relu"]


def test_a_layer_that_a_later_forward_skips_is_left_out_from_then_on() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return x if len(x) > 3 else self.second(x)

    reader = TorchReader(Early())
    reader.inspect(torch.rand(3, 3))
    with reader.open() as forward:
        for rows in (5, 2):
            readings: list[Reading] = []
            forward(torch.rand(rows, 3), readings.append)
            found = {reading.layer: (reading.values is None, reading.status) for reading in readings}
            assert found == {"first": (False, "ok"), "second": (True, UNEVEN)}


def test_a_layer_that_runs_more_often_later_is_left_out() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2 if len(x) > 3 else 1):
                x = self.step(x)
            return x

    reader = TorchReader(Loop())
    reader.inspect(torch.rand(3, 3))
    with reader.open() as forward:
        readings: list[Reading] = []
        forward(torch.rand(5, 3), readings.append)
        assert readings[-1].status == UNEVEN
        readings.clear()
        forward(torch.rand(3, 3), readings.append)
        assert [(r.values, r.status) for r in readings] == [(None, UNEVEN)]


def test_a_module_that_first_runs_later_is_reported() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.second(x) if len(x) > 3 else x

    reader = TorchReader(Late())
    assert reader.inspect(torch.rand(3, 3)).unused == ("second",)
    with reader.open() as forward:
        readings: list[Reading] = []
        forward(torch.rand(5, 3), readings.append)
    assert readings[-1].layer == "second"
    assert readings[-1].values is None
    assert readings[-1].status.startswith("it first ran after the trial forward pass")


def test_edges_of_graphs_followed_by_their_loops_are_rows_that_mix_samples() -> None:
    class Edges(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            loops = x.new_zeros(2 * len(x), x.shape[2])
            return torch.cat([x.flatten(0, 1), loops])[: len(x)]

    infos = {i.layer: i.status for i in TorchReader(Edges()).inspect(torch.rand(4, 2, 3)).layers}
    assert infos["cat"] == "axis 0 has 4 rows per sample in an order that mixes samples"


def test_operations_without_a_batch_axis_are_listed_if_the_inputs_change_them() -> None:
    class Expert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            chosen, out = x[:, 0] > 0, x * 2
            out[chosen] = torch.sin(x[chosen]) @ torch.exp(self.weight).diag()
            return out / x.amax()

    x = torch.rand(4, 3)
    x[1] *= -1
    x[2] += 1
    infos = {i.layer: i.status for i in TorchReader(Expert()).inspect(x).layers}
    assert infos["sin"] == infos["matmul"] == infos["amax"] == "no axis follows the batch size"
    assert infos["mul"] == infos["div"] == "ok"
    assert "exp" not in infos


def test_a_loop_over_the_samples_skips_the_layer_and_reads_the_rest() -> None:
    class PerSample(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.stack([self.lin(row) for row in x]))

    reader = TorchReader(PerSample())
    infos = {(i.layer, i.call): i.status for i in reader.inspect(torch.rand(4, 3)).layers}
    assert infos["lin", 0] == "no axis follows the batch size"
    assert infos["lin", 2] == "how often it runs depends on the values or number of the inputs"
    assert list(read(reader, torch.rand(7, 3))) == [("stack", 0), ("out", 0)]


def test_a_packed_sequence_of_equal_lengths_is_read_sample_by_sample() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            lengths = [x.shape[1]] * len(x)
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            return self.rnn(packed)[1][-1]

    model, x = Packed(), torch.rand(5, 6, 3)
    found = read(TorchReader(model, layers="rnn"), x)
    torch.testing.assert_close(found["rnn", 0], model.rnn(x)[0].detach())


def test_an_embedding_of_tokens_is_read() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    tokens = torch.arange(12).reshape(4, 3) % 10
    found = read(TorchReader(model), tokens)
    torch.testing.assert_close(found["0", 0], model[0](tokens).detach())


def test_inputs_of_a_single_sample_can_be_inspected() -> None:
    model, x = ODD_MODELS["windows"]()
    assert TorchReader(model).inspect(x[:1]) == TorchReader(model).inspect(x)


def test_where_no_layer_can_be_read_the_model_itself_is() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.func.vmap(self.linear)(x)

    model, x = Mapped(), torch.rand(5, 3)
    found = read(TorchReader(model), x)
    assert list(found) == [("Mapped", 0)]
    torch.testing.assert_close(found["Mapped", 0], model.linear(x).detach())
    assert "torch.func" in {i.layer: i.status for i in TorchReader(model).inspect(x).layers}["linear"]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_layer_of_zero_width_is_left_out_and_the_others_are_read() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up, self.other = nn.Linear(3, 0), nn.Linear(0, 2), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.other(x) + self.up(self.down(x))

    statuses = {i.layer: i.status for i in TorchReader(Narrow()).inspect(torch.rand(5, 3)).layers}
    assert statuses == {"other": "ok", "down": NO_UNITS, "up": "ok", "add": "ok"}
