"""What is particular to ONNX: files that are incomplete, fixed, or need what onnxruntime lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from odd_onnx import channels_last_images, draw, graph_of
from onnx import TensorProto, helper
from typer.testing import CliRunner

import invariscope as iv
from invariscope.cli.app import app
from invariscope.readers import as_reader

ELEMENTS = [lambda v: v, lambda v: v.flip(-1)]


def dense(**options: Any) -> Any:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "dense"),
        helper.make_node("Relu", ["h"], ["y"], "relu"),
    ]
    return graph_of(nodes, (6,), {"w": draw(6, 600)}, ["y"], **options)


def refused(path: Path, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        iv.measure(str(path), np.ones((4, 6), np.float32), ELEMENTS)


def test_weights_beside_the_file_are_read_and_missed(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(dense(), path, save_as_external_data=True, location="net.weights", size_threshold=0)
    whole = tmp_path / "whole.onnx"
    onnx.save(dense(), whole)
    x = np.random.default_rng(0).random((9, 6), np.float32)
    tables = [iv.measure(str(file), x, ELEMENTS, progress=False).table["value"] for file in (path, whole)]
    assert tables[0].equals(tables[1])
    first = as_reader(path).fingerprint()
    weights = tmp_path / "net.weights"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert as_reader(path).fingerprint() != first
    weights.unlink()
    refused(
        path,
        FileNotFoundError,
        r"net\.onnx keeps its weights in net\.weights, which is not in the same folder",
    )


def test_a_fixed_batch_is_refused_with_the_way_to_a_dynamic_one(tmp_path):
    onnx.save(dense(batch=1), tmp_path / "net.onnx")
    refused(
        tmp_path / "net.onnx",
        ValueError,
        r"batches of exactly 1: export it with a dynamic batch.*dynamic_shapes",
    )


def test_custom_operators_are_named(tmp_path):
    node = helper.make_node("Deform", ["x"], ["y"], "bend", domain="acme")
    onnx.save(graph_of([node], (6,), {}, ["y"], domains=("acme",)), tmp_path / "net.onnx")
    refused(tmp_path / "net.onnx", ValueError, r"needs custom operators.*: acme\.Deform \(node 'bend'\)")


def test_a_damaged_file_and_several_inputs_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(dense(), path)
    path.write_bytes(path.read_bytes()[:-500])
    refused(path, ValueError, "truncated or not an ONNX file")
    two = dense()
    two.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 6]))
    onnx.save(two, path)
    refused(path, ValueError, r"takes 2 inputs \(x, mask\): pass a function of one tensor")


def test_images_with_channels_last_are_recognised_and_maps_have_channels_first(tmp_path):
    path, x, _ = channels_last_images(tmp_path)
    reader = as_reader(path)
    assert reader.channels_last
    shapes = [info.shape for info in reader.inspect(torch.from_numpy(x).movedim(-1, 1)).layers]
    assert shapes == [(3, 6, 4)] * 3


def test_outputs_are_selected_by_name(tmp_path):
    proto = dense()
    proto.graph.output.append(onnx.ValueInfoProto(name="h"))
    onnx.save(proto, tmp_path / "net.onnx")
    x = torch.ones(3, 6)
    assert "several tensors" in as_reader(tmp_path / "net.onnx").inspect(x).prediction.problem
    assert as_reader(tmp_path / "net.onnx", output="h").inspect(x).prediction.shape == (600,)


def test_whole_numbers_are_fed_as_the_graph_takes_them(tmp_path):
    proto = graph_of([helper.make_node("Gather", ["w", "x"], ["y"], "embed")], (5,), {"w": draw(9, 4)}, ["y"])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(proto, tmp_path / "net.onnx")
    (info,) = (
        as_reader(tmp_path / "net.onnx", layers="embed").inspect(torch.arange(15).reshape(3, 5) % 9).layers
    )
    assert (info.shape, info.status) == ((5, 4), "ok")


def test_the_command_line_measures_and_lists_a_file(tmp_path):
    onnx.save(dense(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((9, 6), np.float32))
    run = CliRunner()
    files = [str(tmp_path / "net.onnx"), str(tmp_path / "x.npy")]
    transform = ["-t", "random_permutations(4, size=6)"]
    done = run.invoke(app, ["measure", *files, *transform, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "dense" in done.output
    assert "MatMul" in run.invoke(app, ["list", "layers", *files]).output
