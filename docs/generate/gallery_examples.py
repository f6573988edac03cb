"""Code that measures the results shown in the gallery.

All examples run in order, in one namespace. A new plot is drawn from the first example that has what it
shows; list it in `lines` only if it needs options or another example.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Example:
    """Code that measures results, and the lines that draw them.

    Args:
        code: Python that sets `results`; or, for a recipe, TOML without figures.
        lines: Python lines that draw a plot, by name of the plot; by default `iv.plot("NAME", results)`.
        recipe: file name of the recipe; "" for Python.
    """

    code: str
    lines: dict[str, str] = field(default_factory=dict)
    recipe: str = ""


SETUP = """\
import invariscope as iv
from invariscope import zoo

train = zoo.load("mnist_subset", split="train", samples=2000)
digits = zoo.load("mnist_subset", samples=256)
rotation = iv.Rotation.circle(16)

plain = zoo.build("simple_conv", filters=4)
zoo.train(plain, train, epochs=2, batch_size=32)

rotated = zoo.build("simple_conv", filters=4)
monitor = iv.Monitor(digits, iv.QuarterTurns(), samples=64)
options = {"augmentation": rotation, "monitor": monitor}
zoo.train(rotated, train, epochs=3, batch_size=32, **options)
networks = {"plain": plain, "rotated": rotated}
"""

NETWORKS = """\
options = {"measures": "nv, prediction", "by_class": True}
results = []
for name, model in networks.items():
    result = iv.measure(model, digits, rotation, label=name, **options)
    results.append(iv.studies.illustrate(result, model, digits, rotation))
"""

FREQUENCIES = """\
measures = "information, spectrum"
results = [
    iv.measure(model, digits, iv.QuarterTurns(), measures=measures, label=name)
    for name, model in networks.items()
]
"""

EPOCHS = """\
results = list(monitor.results.values())
"""

CURVES = """\
results = [iv.stability_curve(rotated, digits, samples=128, radii=8)]
"""

NEURONS = """\
layers = ["relu2", "relu3", "relu4"]
results = [iv.neuron_stability(rotated, layers, digits, samples=64)]
"""

SIZES = """\
results = []
for filters in (1, 2, 3, 4):
    model = zoo.build("simple_conv", filters=filters)
    zoo.train(model, train, epochs=1, batch_size=32)
    options = {"measures": "nv, prediction", "label": f"{filters} filters"}
    results.append(iv.measure(model, digits, iv.QuarterTurns(), **options))
"""

DEPTH = """\
rows = zoo.scale_detection(256, size=256, dimensions=1)  # a few bright points
blocks = zoo.constant_filters(6, dimensions=1, filter_size=2, stride=2)
steps = zoo.unit_displacements(dimensions=1)
options = {"measures": "stability", "layers": "relu*"}
results = [iv.measure(blocks, rows.images, steps, **options)]
"""

FIELDS = """\
title = "Parts of smooth fields"
source = "an example"

[scales]
paper = "64 fields"

[[cells]]
kind = "decompose"
name = "fields"

[cells.options]
transform = "Diffeomorphism(1)"
fields = 64
patches = [2, 3, 4, 6, 8]
"""

FILTERS = """\
title = "Filters of a small network"
source = "an example"

[scales]
paper = "two epochs"

[[cells]]
kind = "train"
name = "net"

[cells.options]
data = "mnist_subset"
network = "min_cnn"
network_options = { kernel_size = 7, filters = 8 }
epochs = 2
keep_epochs = [0]

[[cells]]
kind = "weights"
name = "{analysis}"
for = { analysis = ["gabor", "filter_spectrum"] }

[cells.options]
model = "net"
analysis = "{analysis}"
epochs = [0]
"""

EXAMPLES = (
    Example(
        NETWORKS,
        {
            "model_graph": 'iv.plot("model_graph", results[1])',
            "orbit_strip": 'iv.plot("orbit_strip", results[1])',
            "feature_orbits": 'iv.plot("feature_orbits", results[1])',
        },
    ),
    Example(FREQUENCIES),
    Example(EPOCHS),
    Example(CURVES),
    Example(NEURONS),
    Example(SIZES, {"against_accuracy": 'iv.plot("against_accuracy", results)'}),
    Example(DEPTH, {"depth_laws": 'iv.plot("depth_laws", results, measure="stability.D")'}),
    Example(FIELDS, recipe="fields.toml"),
    Example(FILTERS, recipe="filters.toml"),
)
