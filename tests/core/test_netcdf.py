"""Results saved as netCDF read back equal, whatever the names of layers and classes."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest

import invariscope as iv

xarray = pytest.importorskip("xarray")

ODD = [
    "🙂",
    "名前",
    "ä ö",
    "x\u0301",
    "block/relu",
    "block|relu",
    "new\nline",
    "a: axis 0",
    "..",
    "1x",
    "",
    " end ",
]
ODD += ["\ud800", "\u202eab", "a b", "U+1F642"]
CLASSES = ["all", "🐱", "b"]


def result_of(layers):
    places = list(product(layers, CLASSES))
    rows = [
        {"measure": "nv", "layer": layer, "stratum": stratum, "value": k / 4}
        for k, (layer, stratum) in enumerate(places)
    ]
    points = [row | {"element": e, "label": f"{e}° 🙂", "parameter": "ß_deg"} for row in rows for e in (0, 1)]
    noted = [row | {"note": f"no interval ✗ {row['layer']}"} for row in rows]
    maps = {
        ("normalized_variance", layer, stratum, 0): np.full((2, 3), k / 4)
        for k, (layer, stratum) in enumerate(places)
    }
    return iv.Result(rows=noted, curve_rows=points, arrays=maps)


@pytest.mark.parametrize("part", ["table", "curves", "maps"])
@pytest.mark.parametrize("engine", ["scipy", "h5netcdf", "netcdf4"])
def test_datasets_read_back_from_netcdf_are_identical(part, engine, tmp_path):
    if find_spec("netCDF4" if engine == "netcdf4" else engine) is None:
        pytest.skip(f"{engine} is not installed")
    dataset = result_of(ODD).to_xarray(part)
    dataset.to_netcdf(tmp_path / "part.nc", engine=engine)
    with xarray.open_dataset(tmp_path / "part.nc", engine=engine) as found:
        assert found.load().identical(dataset)


def test_every_map_has_a_variable_and_usual_names_stay():
    result = result_of(ODD)
    maps = result.to_xarray("maps")
    assert len(maps) == len(result.maps) == len(ODD) * len(CLASSES)
    kept = {(values.attrs["layer"], values.attrs["stratum"]): values for values in maps.values()}
    for (_, layer, stratum, _), values in result.maps.items():
        np.testing.assert_array_equal(kept[layer.replace("\ud800", "\\ud800"), stratum], values)
    usual = result_of(["conv1", "block/relu", "a b"]).to_xarray("maps")
    names = {name.removeprefix("normalized_variance ") for name in usual}
    assert names >= {"conv1", "block|relu", "a b", "conv1 b", "block|relu b", "conv1 U+1F431"}


def test_maps_whose_names_would_be_equal_are_told_apart():
    names = list(result_of(["a", "a b", "x/y", "x|y"]).to_xarray("maps"))
    doubles = [
        name for name in names if name.startswith(("normalized_variance a b-", "normalized_variance x|y"))
    ]
    assert len(names) == 12
    assert len(doubles) == 8
