"""ONNX graphs that trip up naive readers, with inputs and the nodes that must be read, in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Layers = list[tuple[str, int]]
ODD: dict[str, Callable[[Path], tuple[str, np.ndarray, Layers]]] = {}


def odd(make: Callable[[], tuple[Any, tuple[int, ...], Layers]]) -> Any:
    """Register a graph: it becomes one that is written to a folder, with nine inputs."""

    def build(folder: Path) -> tuple[str, np.ndarray, Layers]:
        proto, shape, found = make()
        path = folder / f"{make.__name__}.onnx"
        onnx.save(proto, path)
        return str(path), np.random.default_rng(0).random((9, *shape), np.float32), found

    ODD[f"onnx_{make.__name__}"] = build
    return build


def graph_of(
    nodes: list[Any],
    shape: tuple[int, ...],
    weights: dict[str, np.ndarray],
    outputs: list[str],
    *,
    batch: Any = "n",
    domains: tuple[str, ...] = (),
) -> Any:
    """A model with one input "x" of a dynamic batch."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", inputs, results, initializers)
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


@odd
def constants_views_and_several_outputs():
    nodes = [
        helper.make_node("Mul", ["w", "two"], ["w2"], "of_weights"),  # of initialisers alone
        helper.make_node("MatMul", ["x", "w2"], ["h"], "matmul"),
        helper.make_node("Shape", ["h"], ["size"], "shape"),
        helper.make_node("Split", ["h"], ["left", "right"], "split", axis=1, num_outputs=2),
        helper.make_node("Reshape", ["left", "flat"], ["l2"], "reshape"),
        helper.make_node("TopK", ["right", "one"], ["best", "where"], "top"),
        helper.make_node("Add", ["l2", "best"], ["y"], ""),
    ]
    weights = {"w": draw(6, 4), "two": np.float32([2]), "flat": np.int64([-1, 2]), "one": np.int64([1])}
    return graph_of(nodes, (6,), weights, ["y", "h"]), (6,), [("matmul", 0), ("top", 0), ("Add_6", 0)]


@odd
def nodes_without_names():
    nodes = [helper.make_node("Tanh", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    return graph_of(nodes, (6,), {}, ["y"]), (6,), [("Tanh_0", 0), ("Relu_1", 0)]


@odd
def channels_last_images():
    nodes = [
        helper.make_node("Transpose", ["x"], ["first"], "to_first", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Transpose", ["r"], ["last"], "to_last", perm=[0, 2, 3, 1]),
        helper.make_node("Tanh", ["last"], ["y"], "tanh"),
    ]
    return (
        graph_of(nodes, (8, 6, 2), {"w": draw(3, 2, 3, 3)}, ["y"]),
        (8, 6, 2),
        [("conv", 0), ("relu", 0), ("tanh", 0)],
    )


@odd
def a_branch_whose_body_reads_the_input():
    bodies = [
        helper.make_graph(
            [helper.make_node(op, ["x"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for op, name in (("Tanh", "yes"), ("Relu", "no"))
    ]
    nodes = [
        helper.make_node("If", ["true"], ["y"], "if", then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("Neg", ["y"], ["z"], "neg"),
    ]
    return graph_of(nodes, (6,), {"true": np.array(True)}, ["z"]), (6,), [("if", 0), ("neg", 0)]
