"""Measure one small network with the same weights in every framework.

    python -m benchmarks.frameworks          # writes benchmarks/results/frameworks.md
    python -m benchmarks.frameworks flax     # prints the rows of one framework as JSON

The page compares the normalized variance of each layer. Each framework runs in a process of its own, since
the back end of Keras cannot be changed within a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import invariscope as iv

PAGE = Path(__file__).parent / "results" / "frameworks.md"
LAYERS = ("conv", "relu", "pool", "dense")
SAMPLES, CHANNELS, SIDE, WIDTH, CLASSES = 256, 3, 16, 8, 10
POOLED = (SIDE - 2) // 2

Row = dict[str, Any]


class Network(nn.Module):
    """Network of a convolution, a ReLU, an average pooling and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, WIDTH, 3)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.dense = nn.Linear(WIDTH * POOLED * POOLED, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of (n, C, H, W) images."""
        return self.dense(self.pool(self.relu(self.conv(x))).flatten(1))


def network() -> Network:
    """Return the network whose weights are copied to the other frameworks."""
    torch.manual_seed(0)
    return Network().eval()


def images(*, channels_last: bool = False) -> Tensor:
    """Return smooth random images, brighter at the top so that quarter turns differ in their effect."""
    noise = torch.rand(SAMPLES, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)
    found = smooth + torch.linspace(1, 0, SIDE)[:, None] * noise[:, :1, :1, :1]
    return found.movedim(1, -1).contiguous() if channels_last else found


# --- the network in each framework --------------------------------------------------------------------------


def channels_last_dense(model: Network) -> Tensor:
    """Return the (in, out) weights of the dense layer for maps that were flattened as (H, W, C)."""
    weight = model.dense.weight.detach().reshape(CLASSES, WIDTH, POOLED, POOLED)
    return weight.permute(2, 3, 1, 0).reshape(-1, CLASSES)


def as_callable() -> tuple[Any, Tensor]:
    """Return a function that returns its layers."""
    model = network()

    def layers(x: Tensor) -> dict[str, Tensor]:
        conv = model.conv(x)
        relu = conv.relu()
        pool = model.pool(relu)
        return {"conv": conv, "relu": relu, "pool": pool, "dense": model.dense(pool.flatten(1))}

    return layers, images()


def as_program() -> tuple[Any, Tensor]:
    """Return the path of a `.pt2` file."""
    path = Path(tempfile.mkdtemp()) / "net.pt2"
    batch = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(network(), (images()[:4],), dynamic_shapes=batch), path)
    return str(path), images()


def as_onnx() -> tuple[Any, Tensor]:
    """Return the path of an `.onnx` file."""
    path = Path(tempfile.mkdtemp()) / "net.onnx"
    batch = ({0: "batch"},)
    torch.onnx.export(network(), (images()[:4],), path, dynamic_shapes=batch, verbose=False)
    return str(path), images()


def as_keras() -> tuple[Any, Tensor]:
    """Return a functional Keras model, on the back end that KERAS_BACKEND names."""
    import keras

    model = network()
    x = keras.Input((SIDE, SIDE, CHANNELS))
    h = keras.layers.Conv2D(WIDTH, 3, name="conv")(x)
    h = keras.layers.ReLU(name="relu")(h)
    h = keras.layers.AveragePooling2D(2, name="pool")(h)
    h = keras.layers.Flatten(name="flatten")(h)
    net = keras.Model(x, keras.layers.Dense(CLASSES, name="dense")(h))
    net.get_layer("conv").set_weights([*_conv(model)])
    net.get_layer("dense").set_weights(
        [channels_last_dense(model).numpy(), model.dense.bias.detach().numpy()]
    )
    return net, images(channels_last=True)


def as_flax() -> tuple[Any, Tensor]:
    """Return a Flax NNX module that sows the results of its functions."""
    import jax.numpy as jnp
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.conv = nnx.Conv(CHANNELS, WIDTH, (3, 3), padding="VALID", rngs=rngs)
            self.dense = nnx.Linear(WIDTH * POOLED * POOLED, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            x = nnx.relu(self.conv(x))
            self.sow(nnx.Intermediate, "relu", x)
            x = nnx.avg_pool(x, (2, 2), (2, 2))
            self.sow(nnx.Intermediate, "pool", x)
            return self.dense(x.reshape(len(x), -1))

    model, net = network(), Net(nnx.Rngs(0))
    net.conv.kernel[...], net.conv.bias[...] = map(jnp.asarray, _conv(model))
    net.dense.kernel[...] = jnp.asarray(channels_last_dense(model).numpy())
    net.dense.bias[...] = jnp.asarray(model.dense.bias.detach().numpy())
    return net, images(channels_last=True)


def as_jax() -> tuple[Any, Tensor]:
    """Return a jitted function of (n, C, H, W) images that returns its layers."""
    import jax
    import jax.numpy as jnp

    weights = {name: jnp.asarray(value.numpy()) for name, value in network().state_dict().items()}

    @jax.jit
    def layers(x: jax.Array) -> dict[str, jax.Array]:
        conv = jax.lax.conv(x, weights["conv.weight"], (1, 1), "VALID")
        conv = conv + weights["conv.bias"][:, None, None]
        relu = jax.nn.relu(conv)
        pool = relu.reshape(len(x), WIDTH, POOLED, 2, POOLED, 2).mean((3, 5))
        dense = pool.reshape(len(x), -1) @ weights["dense.weight"].T + weights["dense.bias"]
        return {"conv": conv, "relu": relu, "pool": pool, "dense": dense}

    return layers, images()


def _conv(model: Network) -> tuple[Any, Any]:
    """Return the kernel (H, W, in, out) and the bias of the convolution."""
    weight, bias = model.conv.weight.detach(), model.conv.bias
    assert bias is not None
    return weight.permute(2, 3, 1, 0).contiguous().numpy(), bias.detach().numpy()


Build = Callable[[], tuple[Any, Tensor]]
FRAMEWORKS: dict[str, tuple[str, Build, tuple[str, ...]]] = {
    "torch": ("torch", lambda: (network(), images()), ("torch",)),
    "callable": ("any callable", as_callable, ("torch",)),
    "pt2": ("`.pt2`", as_program, ("torch",)),
    "onnx": ("ONNX", as_onnx, ("onnx", "onnxruntime")),
    "keras-tensorflow": ("Keras on TensorFlow", as_keras, ("keras", "tensorflow-cpu")),
    "keras-jax": ("Keras on JAX", as_keras, ("keras", "jax")),
    "flax": ("Flax NNX", as_flax, ("flax", "jax")),
    "jax": ("JAX function", as_jax, ("jax",)),
}


# --- the table ----------------------------------------------------------------------------------------------


def rows_of(framework: str) -> list[Row]:
    """Return the name, value and null of each layer, measured in this process."""
    _, build, _ = FRAMEWORKS[framework]
    model, x = build()
    layers = "!flatten" if framework.startswith("keras") else None  # flattening is a layer only in Keras
    options = {"layers": layers, "rows": "all", "progress": False}
    table = iv.measure(model, x.numpy(), iv.QuarterTurns(), **options).table
    return table[["layer", "value", "null"]].to_dict("records")


def measured(framework: str) -> list[Row]:
    """Return the name, value and null of each layer, measured in a separate process."""
    backend = framework.partition("-")[2]
    own = {"KERAS_BACKEND": backend} if backend else {}
    command = [sys.executable, "-m", "benchmarks.frameworks", framework]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{framework}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(found: dict[str, list[Row]]) -> float:
    """Return the largest difference of a framework from torch, over the values and nulls of all layers."""
    pairs = [(row, right) for rows in found.values() for row, right in zip(rows, found["torch"], strict=True)]
    return max(abs(row[name] - right[name]) for row, right in pairs for name in ("value", "null"))


def page(found: dict[str, list[Row]]) -> str:
    """Return the page in Markdown."""
    heads = ["framework", "versions", *LAYERS, "largest difference"]
    lines = [" | ".join(heads), " | ".join(["---", "---", *["---:"] * (len(LAYERS) + 1)])]
    for framework, rows in found.items():
        title, _, packages = FRAMEWORKS[framework]
        values = [f"{row['value']:.7f}" for row in rows]
        versions = ", ".join(f"{name} {version(name)}" for name in packages)
        difference = largest_difference({"torch": found["torch"], framework: rows})
        lines.append(" | ".join([title, versions, *values, f"{difference:.1e}"]))
    table = "\n".join(f"| {line} |" for line in lines)
    about = (
        f"The table shows normalized variance under quarter turns, for {SAMPLES} random images of shape "
        f"{CHANNELS} × {SIDE} × {SIDE} and the same weights in every framework. The last "
        "column is the largest difference from torch, over the values and nulls of the four layers."
    )
    return (
        "# The same network in every framework\n\nWritten by `python -m benchmarks.frameworks`.\n\n"
        f"{textwrap.fill(about, 116)}\n\n{table}\n\nLargest difference: {largest_difference(found):.1e}.\n"
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(rows_of(sys.argv[1])))
    else:
        PAGE.write_text(page({framework: measured(framework) for framework in FRAMEWORKS}))
        print(PAGE.read_text())
