"""Exported programs and TorchScript, read like the modules that they were made from."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.readers import CallableReader, TorchReader, as_reader
from invariscope.readers.exported import ExportedReader, load_exported

BATCH = ({0: torch.export.Dim.AUTO},)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(6, 6), nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(torch.relu(self.linear(x))) + x


class Odd(nn.Module):
    """Nested, shared and in-place layers, attention, batch normalisation, a dictionary of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)
        self.encoder, self.shared = nn.Sequential(nn.Linear(72, 6), Block()), nn.Linear(6, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.encoder(self.act(self.bn(self.conv(x))).flatten(1))
        x = self.shared(torch.tanh(self.shared(x)))
        y = self.attention(x[:, None], x[:, None], x[:, None])[0]
        return {"features": x, "logits": y[:, 0]}


def exported(model: nn.Module, x: Tensor, **options: object) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model, (x,), **{"dynamic_shapes": BATCH, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def odd() -> tuple[nn.Module, Tensor, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    model, x = Odd().eval(), torch.rand(9, 1, 8, 8)
    return model, x, exported(model, x)


@pytest.fixture(scope="module")
def saved(odd, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "odd.pt2"
    torch.export.save(odd[2], path)
    return path


def layers(model: object, x: Tensor) -> list[tuple[object, ...]]:
    return [(i.layer, i.call, i.shape, i.kind, i.status) for i in as_reader(model).inspect(x).layers]


def table(model: object, x: Tensor, **options: object) -> list[tuple[str, int, float]]:
    found = iv.measure(model, x, iv.QuarterTurns(), progress=False, **options).table  # type: ignore[arg-type]
    return [tuple(row) for row in found[["layer", "call", "value"]].itertuples(index=False)]


def test_a_program_has_the_layers_of_the_module_under_the_same_names(odd):
    model, x, program = odd
    without_weights = [
        row for row in layers(model, x) if row[0] != "attention[1]"
    ]  # export drops what is unused
    assert layers(program, x) == without_weights
    assert [name for name, call, *_ in without_weights if call] == ["shared"]
    assert as_reader(program).name == "Odd"


def test_a_saved_program_gives_the_table_of_the_module(odd, saved):
    model, x, _ = odd
    right = {row[:2]: row[2] for row in table(model, x)}
    found = table(str(saved), x)
    assert len(found) > 8
    assert all(value == pytest.approx(right[layer, call], abs=1e-5) for layer, call, value in found)


def test_a_second_batch_size_gives_the_same_responses(odd):
    _, x, program = odd
    reader, found = as_reader(program), {}
    reader.inspect(x)
    for size in (3, 9):
        with reader.open() as forward:
            forward(
                x[:size],
                lambda r, size=size: found.setdefault((r.layer, r.call), []).append(r.values[:3].clone()),
            )
    assert all(torch.allclose(small, large, atol=1e-6) for small, large in found.values())


def test_precision_gradients_and_patterns_work_as_for_modules(odd):
    _, x, program = odd
    assert as_reader(program).inspect(x, precision="float64").layers[0].dtype == "float64"
    assert as_reader(program, gradients=True).inspect(x).layers
    assert [i.layer for i in as_reader(program, layers="encoder").inspect(x).layers] == ["encoder"]
    with pytest.raises(ValueError, match=r"no layer matches 'convv' in Odd. Closest: 'conv'"):
        as_reader(program, layers="convv").inspect(x)
    assert table(program, x, output="logits", measures="prediction")


def test_notes_say_nothing_of_compilation(odd):
    assert as_reader(odd[2]).inspect(odd[1]).notes == ()


def test_a_fixed_batch_is_refused_with_the_way_to_a_dynamic_one(odd):
    model, x, _ = odd
    with pytest.raises(
        ValueError, match=r"exactly 9\. Export it with a dynamic batch: torch\.export\.export\(.*AUTO"
    ):
        iv.measure(exported(model, x, dynamic_shapes=None), x, iv.QuarterTurns())


def test_a_program_of_several_tensors_is_refused():
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    program = torch.export.export(
        Two(), (torch.ones(2, 3), torch.ones(2, 3)), dynamic_shapes=(*BATCH, *BATCH)
    )
    with pytest.raises(ValueError, match="takes 2 tensors instead of one"):
        as_reader(program)


def test_the_fingerprint_covers_weights_and_operations_and_is_the_same_in_another_process(odd, saved):
    program = load_exported(saved)
    mine = as_reader(program).identity()
    code = f"import invariscope.readers as r; print(r.as_reader({str(saved)!r}).fingerprint())"
    other = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == mine.digest
    assert mine.unseen == ()
    program.state_dict["conv.bias"].data[0] += 1
    changed = as_reader(program).identity()
    assert changed.digest != mine.digest
    assert changed.weights != mine.weights


def test_a_program_is_read_by_its_own_reader(odd):
    assert isinstance(as_reader(odd[2]), ExportedReader)
    assert isinstance(as_reader(odd[0]), TorchReader)
    assert isinstance(as_reader(lambda x: {"x": x}), CallableReader)


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("resnet18", TypeError, r"from 'resnet18'; supported files: .keras, .onnx, .pt2\."),
        ("net.pt2", FileNotFoundError, "no such file: net.pt2"),
        (Path("net.onnx"), FileNotFoundError, "no such file: net.onnx"),
    ],
)
def test_a_path_that_is_no_model_is_refused(path, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        iv.measure(path, torch.ones(4, 3), [torch.clone, torch.neg])


@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda model: torch.jit.trace(model, torch.rand(2, 1, 8, 8))]
)
def test_torchscript_is_read_at_its_outputs_and_says_so(make):
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).eval(),
        torch.rand(8, 1, 8, 8),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        scripted = make(model)
        outer = nn.Sequential(scripted, nn.Tanh())
    (row,) = table(scripted, x)
    assert row == ("Sequential", 0, pytest.approx(table(model, x)[-1][2], abs=1e-5))
    assert as_reader(scripted).inspect(x).notes == (
        "only the outputs of traced or scripted modules are read: Sequential",
    )
    assert [name for name, *_ in layers(outer, x)] == ["0", "1"]
