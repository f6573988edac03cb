"""Read the output of every node of an ONNX file, through onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from invariscope.common.wording import listed
from invariscope.readers.base import Identity
from invariscope.readers.emissions import Emitter, RefusedModel
from invariscope.readers.foreign import as_numpy, as_tensors, needed
from invariscope.readers.recorded import Opened, RecordedReader

# Nodes that pass on values, read shapes or create constants.
_NO_LAYERS = """Cast CastLike Constant ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements
    GatherND Identity Pad Range Reshape Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose
    Unsqueeze"""
_VIEWS = frozenset(_NO_LAYERS.split())
_FIRST, _LAST, _UNCLEAR = "first", "last", "unclear"
_CHANNELS_FIRST = """AveragePool BatchNormalization Conv ConvInteger ConvTranspose GlobalAveragePool
    GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool MaxPool QLinearConv"""
_SPATIAL = frozenset(_CHANNELS_FIRST.split())
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_MIXING = frozenset(["Einsum", "Gemm", "LayerNormalization", "MatMul", "Reshape", "RMSNormalization"])
_KNOWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc")
_FOLDER = "session.model_external_initializers_file_folder_path"
_DYNAMIC = (
    'export it with a dynamic batch: torch.onnx.export(model, (x,), path, dynamic_shapes=({0: "batch"},)), '
    'or tf2onnx with --inputs "input:0[-1,...]"'
)


@dataclass(frozen=True, eq=False)
class _Site:
    """One output of one node."""

    name: str
    kind: str
    value: str
    default: bool
    layout: str


@dataclass(frozen=True, eq=False)
class _Graph:
    """The graph of an ONNX file, changed to return all of its inner values.

    Args:
        feed: name of the input.
        dtype: NumPy name of the input's dtype.
        channels_last: whether the input is an image whose channels the graph first moves to the front.
        outputs: names of the model's own outputs.
        content: the serialised model with every value as an output.
    """

    feed: str
    dtype: str
    channels_last: bool
    outputs: tuple[str, ...]
    sites: tuple[_Site, ...]
    content: bytes


@dataclass(frozen=True, eq=False)
class OnnxReader(RecordedReader):
    """Reader of the output of every node of an ONNX file, in the order of the graph.

    Names: a node has its own name, or else its operator and position in the graph (`Conv_0`). Several outputs
    of one node are `node`, `node[1]`, and so on. Constants, initialisers and values computed only from them
    and from shapes are left out; bodies of `If`, `Loop` and `Scan` are not read.

    Read by default: nodes that return floating-point values with a batch axis, except those that only
    reshape, move, cut or copy values. The batch size must be dynamic. The model runs on the CPU.

    Args:
        model: path of an `.onnx` file; its external data must be in the same folder.
        layers, batch_axis, output: as for `TorchReader`; `output` is the name of one of the file's outputs.
        gradients: must be False.
    """

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether the model is the path of an ONNX file."""
        return isinstance(model, str | Path) and str(model).endswith(".onnx")

    @property
    def framework(self) -> str:
        """Name of the framework."""
        return "ONNX"

    @property
    def placing(self) -> str:
        """How the user can choose the device."""
        return (
            "expect the file to run on the CPU; to run it elsewhere, pass a function that calls your own "
            "onnxruntime.InferenceSession with other providers and returns {layer: array}"
        )

    @property
    def name(self) -> str:
        """Name of the file, without its suffix."""
        return self._path.stem

    @property
    def channels_last(self) -> bool:
        """Whether images come as (n, H, W, C)."""
        return self._graph.channels_last

    def identity(self) -> Identity:
        """Digest the file and its external data."""
        digest = hashlib.sha256(self._path.read_bytes())
        for file in _external(self._proto, self._path):
            digest.update(file.read_bytes())
        return Identity(digest.hexdigest(), digest.hexdigest())

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Start an onnxruntime session that can return every inner value."""
        graph = self._graph
        session = _session(graph.content, self._proto, self._path)

        def run(x: Tensor, emit: Emitter) -> Any:
            sites = [site for site in graph.sites if emit.wants(site.name)]
            names = list(dict.fromkeys([*(site.value for site in sites), *graph.outputs]))
            feed = {graph.feed: as_numpy(x).astype(graph.dtype)}
            found = dict(zip(names, session.run(names, feed), strict=True))
            for site in sites:
                layout = {"channels_last": site.layout == _LAST, "unclear": site.layout == _UNCLEAR}
                value = found[site.value]
                emit(site.name, site.kind, value, default=site.default, operation=True, **layout)
            outputs = {name: as_tensors(found[name]) for name in graph.outputs}
            return next(iter(outputs.values())) if len(outputs) == 1 else outputs

        yield Opened(run)

    @property
    def _path(self) -> Path:
        return Path(self.model)

    @cached_property
    def _proto(self) -> Any:
        return _loaded(self._path)

    @cached_property
    def _graph(self) -> _Graph:
        return _exposed(self._proto, self._path)


def _loaded(path: Path) -> Any:
    """Load the file without its external data, which must exist.

    Raises:
        FileNotFoundError: the file, or its external data, is missing.
        ValueError: the file is not an ONNX file.
    """
    onnx = needed("onnx", "onnx")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own exceptions differ between its versions
        raise ValueError(f"{path} is truncated or not an ONNX file ({error})") from error
    missing = [file for file in _external(proto, path) if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path.name} keeps its weights in {missing[0].name}, which is not in the same folder: "
            "copy that file there too"
        )
    return proto


def _external(proto: Any, path: Path) -> list[Path]:
    """Return the files that hold external data of initialisers, without duplicates."""
    entries = (entry for tensor in proto.graph.initializer for entry in tensor.external_data)
    names = dict.fromkeys(entry.value for entry in entries if entry.key == "location")
    return [path.parent / name for name in names]


def _session(content: bytes, proto: Any, path: Path) -> Any:
    onnxruntime = needed("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(_FOLDER, str(path.parent.absolute()))
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common class
        own = {function.name for function in proto.functions}
        odd = (n for n in proto.graph.node if n.domain not in _KNOWN_DOMAINS and n.op_type not in own)
        custom = list(dict.fromkeys(f"{node.domain}.{node.op_type} (node {node.name!r})" for node in odd))
        if custom:
            raise RefusedModel(
                f"{path.name} needs custom operators, which onnxruntime does not have: "
                f"{listed(custom, limit=3)}. Export it without them, or pass a function that runs your own "
                "session and returns {layer: array}"
            ) from error
        raise RefusedModel(f"onnxruntime cannot load {path.name}: {error}") from error


def _exposed(proto: Any, path: Path) -> _Graph:
    """Return the graph with the outputs of all its nodes as outputs of the model."""
    onnx = needed("onnx", "onnx")
    feed = _input(proto.graph, path)
    sites = tuple(_sites(proto.graph, feed.name))
    outputs = tuple(output.name for output in proto.graph.output)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    inner = dict.fromkeys(site.value for site in sites if site.value not in outputs)
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(feed.type.tensor_type.elem_type).name
    return _Graph(
        feed.name, dtype, _wants_last(proto.graph, feed.name), outputs, sites, copy.SerializeToString()
    )


def _input(graph: Any, path: Path) -> Any:
    """Return the only input besides weights; raise RefusedModel if several, or if the batch size is fixed."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in weights]
    if len(inputs) != 1:
        names = listed([entry.name for entry in inputs])
        raise RefusedModel(
            f"{path.name} takes {len(inputs)} inputs ({names}): pass a function of one tensor that runs "
            "your own session and returns {layer: array}"
        )
    sizes = inputs[0].type.tensor_type.shape.dim
    if len(sizes) and sizes[0].HasField("dim_value"):
        raise RefusedModel(f"{path.name} takes batches of exactly {sizes[0].dim_value}: {_DYNAMIC}")
    return inputs[0]


def _wants_last(graph: Any, feed: str) -> bool:
    """Return whether every node that uses the input only moves its last axis to axis 1."""
    users = [node for node in graph.node if feed in node.input]
    return bool(users) and all(_permutation(node) == _TO_FIRST for node in users)


def _permutation(node: Any) -> tuple[int, ...]:
    if node.op_type != "Transpose":
        return ()
    return next((tuple(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), ())


def _sites(graph: Any, feed: str) -> Iterator[_Site]:
    """Yield the outputs of nodes that depend on the input."""
    layouts = {feed: _LAST if _wants_last(graph, feed) else ""}
    for number, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{number}"
        if not any(value in layouts for value in _inputs_of(node)):
            continue
        layout = _layout(node, layouts)
        for place, value in enumerate(node.output):
            if value:
                layouts[value] = layout
                suffix = f"[{place}]" if place else ""
                yield _Site(name + suffix, node.op_type, value, node.op_type not in _VIEWS, layout)


def _inputs_of(node: Any) -> Iterator[str]:
    """Yield the inputs of a node, including those of the bodies of loops and branches."""
    yield from node.input
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from _inputs_of(inner)


def _layout(node: Any, layouts: Mapping[str, str]) -> str:
    """Return whether a node's maps have channels first or last; "" if unknown."""
    known = next((layouts[value] for value in node.input if layouts.get(value)), "")
    if node.op_type in _SPATIAL:
        return _FIRST
    if permutation := _permutation(node):
        known_moves: dict[Any, str] = {(_LAST, _TO_FIRST): _FIRST, (_FIRST, _TO_LAST): _LAST}
        return known_moves.get((known, permutation), _UNCLEAR)
    if node.op_type in _MIXING:
        return known if known == _LAST and node.op_type != "Reshape" else _UNCLEAR
    return known
