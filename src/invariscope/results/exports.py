"""Results in the formats of other libraries: xarray datasets and parquet files."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from invariscope.common.files import replacing
from invariscope.common.publishing import written
from invariscope.common.registry import unknown
from invariscope.results.maps import MapKey
from invariscope.results.provenance import digest
from invariscope.results.rows import PLACE, encodable
from invariscope.results.storage import encoded

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

Part = Literal["table", "curves", "maps"]
Frame = Literal["table", "curves", "baseline"]
# Words of a curve that depend on its element alone.
_OF_ELEMENT = ("label", "parameter")


def to_parquet(result: Result, path: Path, part: Frame = "table") -> Path:
    """Write a table of the result to a parquet file; see `Result.to_parquet`."""
    if part not in ("table", "curves", "baseline"):
        raise unknown("part", str(part), ("table", "curves", "baseline"))
    frame: pd.DataFrame = getattr(result, part)
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise ImportError("to_parquet needs pyarrow: pip install 'invariscope[parquet]'") from error
    # pandas stores `attrs` in the metadata of the file, and restores them.
    frame.attrs["invariscope"] = json.loads(json.dumps(encoded(result.provenance)))
    with written(path.parent), replacing(path) as scratch:
        frame.to_parquet(scratch, engine="pyarrow", index=False)
    return path


def to_xarray(result: Result, part: Part = "table") -> Any:
    """Return the result as an `xarray.Dataset`; see `Result.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError("to_xarray needs xarray: pip install 'invariscope[xarray]'") from error
    if part not in ("table", "curves", "maps"):
        raise unknown("part", str(part), ("table", "curves", "maps"))
    if part == "maps":
        names = _map_names(result.maps)
        return xarray.Dataset(
            {names[key]: _map(names[key], key, values) for key, values in result.maps.items()}
        )
    if part == "table":
        return _dataset(result.table, list(PLACE), ["note"])
    return _dataset(result.curves, [*PLACE, "element"], list(_OF_ELEMENT))


def _dataset(frame: pd.DataFrame, axes: list[str], words: list[str]) -> Any:
    """Return the columns as variables over the axes.

    Args:
        words: columns of text. Combinations without a row have NaN there, but xarray cannot save a mixture of
            strings and NaN, so they get "".
    """
    import xarray

    found = xarray.Dataset.from_dataframe(frame.set_index(axes))
    names = [name for name in axes if found[name].dtype.kind not in "iuf"]
    found = found.assign_coords({name: found[name].astype(str) for name in names})
    return found.assign({name: found[name].fillna("").astype(str) for name in words})


def _map_names(keys: Iterable[MapKey]) -> dict[MapKey, str]:
    """Return a name per map that every netCDF format accepts; the attributes hold the layer's own name."""
    usual = {key: _map_name(*key) for key in keys}
    often = Counter(usual.values())
    return {k: name if often[name] == 1 else f"{name}-{digest(repr(k))[:6]}" for k, name in usual.items()}


def _map_name(measure: str, layer: str, stratum: str, call: int) -> str:
    """Return the usual name of a map: a slash would name a group, and classic files take ASCII only.

    >>> _map_name("m", "block/relu", "all", 0), _map_name("m", "\N{LATIN SMALL LETTER E WITH ACUTE}", "3", 1)
    ('m block|relu', 'm U+00E9 3 1')
    """
    parts = [measure, layer, *([stratum] if stratum != "all" or call else []), *([str(call)] * bool(call))]
    plain = " ".join(parts).replace("/", "|").strip()
    return "".join(c if c.isascii() and c.isprintable() else f"U+{ord(c):04X}" for c in plain)


def _map(name: str, key: MapKey, values: Any) -> Any:
    """Return the variable of a map; its axes are its own, since layers differ in shape."""
    import xarray

    axes = [f"{name}: axis {axis}" for axis in range(values.ndim)]
    about = dict(zip(("measure", "layer", "stratum", "call"), map(encodable, key), strict=True))
    return xarray.DataArray(values, dims=axes, attrs=about)
