"""Every plot of the registry: what `prepare` and `views` make of results."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import torch

import invariscope as iv

from . import inputs, reach
from .capture import Known
from .cases import add, case
from .of_options import quick
from .of_studies import curve, neurons


@cache
def made(name: str = "one", **options: Any) -> iv.Result:
    """A result that holds something for every plot."""
    return reach.sample_result(name, information=True, maps=True, stability=True, **options)


@cache
def measured(seed: int = 0) -> iv.Result:
    measures = [
        "normalized_variance",
        "prediction",
        "information",
        "stability",
        "spectrum",
        "transformation_variance",
    ]
    data = (inputs.images(96, side=8), inputs.labels(96))
    options = {
        "by_class": True,
        "label": f"net {seed}",
        "measures": measures,
        "baseline": "random",
        "draws": 3,
    }
    return quick(inputs.net(side=8, seed=seed), data, iv.Rotation.circle(5), **options)


@cache
def illustrated() -> iv.Result:
    data, transform = inputs.images(96, side=8), iv.Rotation.circle(5)
    return iv.illustrate(measured(), inputs.net(side=8), data, transform, sample=3)


def shown(plot: Any, results: Any, **options: Any) -> Known:
    """The prepared numbers, and the names that their texts may hold."""
    several = [results] if isinstance(results, iv.Result) else list(results)
    return Known(plot.prepare(results, **options), names_of(several))


def names_of(results: Iterable[iv.Result]) -> frozenset[str]:
    found: set[str] = set()
    for result in results:
        found |= {result.name, *result.examples}
        for frame in (result.table, result.curves):
            for column in {"measure", "layer", "stratum", "label", "parameter"} & set(frame.columns):
                found |= set(frame[column].astype(str))
    return frozenset(found)


def every_view(plot: Any) -> Known:
    results = [made(), made("two", seed=1, level=0.8), made("one", seed=2, level=0.6, epoch=2)]
    views = plot.views(results)
    return Known([view.plot for view in views], names_of(results))


for _name, _plot in reach.plot_classes().items():
    add(f"plot-{_name}/made", lambda plot=_plot: shown(plot, made()))
    add(f"plot-{_name}/views", partial(every_view, _plot))

PLOTS = reach.plot_classes()
TWO: Any = (measured, partial(measured, 1))


def prepared(name: str, results: Any, options: dict[str, Any]) -> Known:
    several = [make() for make in results] if isinstance(results, tuple) else results()
    return shown(PLOTS[name], several, **options)


MEASURED: list[tuple[str, Any, dict[str, Any]]] = [
    ("layer_profile", TWO, {}),
    ("layer_profile", TWO, {"measure": "transformation_variance", "relative": True, "logarithmic": True}),
    ("layer_profile", TWO[:1], {"stratum": "1", "column": "value_ratio", "layers": ["conv", "fc"]}),
    ("against_accuracy", TWO, {"layer": "fc", "fit": False}),
    ("element_curve", TWO, {}),
    ("element_curve", TWO[:1], {"measure": "prediction.flips", "stratum": "2"}),
    ("information_plane", TWO, {"form": "shares"}),
    ("depth_laws", TWO, {"measure": "normalized_variance", "law": "power"}),
    ("depth_laws", TWO[:1], {"measure": "stability.D", "first": 1, "layers": ["conv", "relu", "fc"]}),
    ("class_heatmap", measured, {}),
    ("class_heatmap", measured, {"measure": "transformation_variance", "limit": 5}),
    ("unit_heatmap", measured, {"sort": True, "limit": 20}),
    ("unit_heatmap", measured, {"stratum": "0"}),
    ("unit_distribution", measured, {"stratum": "1"}),
    ("spectra", measured, {"most": 2}),
    ("orbit_strip", measured, {}),
    ("feature_orbits", illustrated, {}),
    ("stability_curves", partial(curve, layers=["0"]), {}),
    ("stability_curves", partial(curve, layers=["0"]), {"layer": "0"}),
    ("stability_curves", partial(curve, seed=3), {"shown": "relative"}),
    ("bump_images", curve, {}),
    ("neuron_stability", neurons, {}),
    ("local_decomposition", reach.decomposed, {}),
    ("local_fields", reach.decomposed, {"patch": 3}),
]
for _name, _results, _options in MEASURED:
    _options_text = "-".join(f"{key}={value}" for key, value in _options.items() if isinstance(value, str))
    add(f"plot-{_name}/measured-{_options_text}", partial(prepared, _name, _results, _options))


@case("plot-filter_spectra/table")
def _filter_spectra() -> Known:
    table = iv.weights.training_spectra(
        {k: {"conv.weight": torch.from_numpy(inputs.array(3, 1, 3, 3, seed=k))} for k in range(3)}
    )
    return Known(PLOTS["filter_spectra"].prepare(table), frozenset(["conv"]))


@case("figures/fields")
def _fields() -> Any:
    return reach.figure("DisplacementFields").prepare(
        iv.Diffeomorphism(2, delta_px=1.0), size=(12, 12), index=3
    )


@case("figures/phases")
def _phases() -> Any:
    image = inputs.smooth_images(1)[0]
    return reach.figure("DeformationPhases").prepare(image, cutoffs=(2, 3), columns=3, seed=1)


@case("figures/filters")
def _filters() -> Any:
    stages = {"start": inputs.array(9, 5, 5), "end": inputs.array(9, 5, 5, seed=1)}
    return reach.figure("FilterImages").prepare(stages, limit=4)
