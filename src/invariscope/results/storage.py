"""Results on disk: result.json and maps.safetensors, written atomically and never pickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from invariscope.common.publishing import entries, filling, undisturbed, written
from invariscope.common.sealing import BLANKS, read_sealed_json, seal, write_sealed_json
from invariscope.results.maps import DrawnMap
from invariscope.results.result import Result
from invariscope.results.shard import SHARD_NAME, SUMS_NAME, Shard, load_shard, plain, read_arrays
from invariscope.unit_draw import UnitDraw

JSON_NAME, MAPS_NAME = "result.json", "maps.safetensors"
SCHEMA = 2
UNSEALED = (
    "loaded from files of an earlier version, which have no SHA-256: damage to them cannot be noticed. "
    "Saving the result again adds digests"
)
_ROWS = ("rows", "curves", "baseline")
_INFINITE = {"Infinity": math.inf, "-Infinity": -math.inf}


def save(result: Result, folder: Path, *, overwrite: bool = False) -> Path:
    """Write `result` to `folder`; raise FileExistsError for existing files unless `overwrite` is set."""
    check = partial(refuse_used_folder, folder, overwrite=overwrite)
    if result.shard is not None:
        return shard_of(result).save(folder, removes=(JSON_NAME, MAPS_NAME), check=check)
    with (
        filling(folder, last=JSON_NAME, removes=(SHARD_NAME, SUMS_NAME), check=check) as scratch,
        written(folder),
    ):
        _write(result, scratch)
    return folder


def shard_of(result: Result) -> Shard:
    """Return the shard of a result with its provenance, as it is saved."""
    assert result.shard is not None
    document = plain({**result.shard.document, "provenance": encoded(result.provenance)})
    return replace(result.shard, document=document)


def refuse_used_folder(
    folder: Path, *, overwrite: bool = False, remedy: str = "overwrite=True", called: str = ""
) -> None:
    """Raise FileExistsError for a folder that is not empty.

    Args:
        folder: the folder.
        overwrite: whether to accept a folder that contains files.
        remedy: how to allow overwriting, for the message.
        called: name of the folder in the message, by default its path.
    """
    if overwrite or not folder.exists() or not entries(folder):
        return
    named = {JSON_NAME: "a saved result", SHARD_NAME: "a saved shard"}
    what = next((what for name, what in named.items() if (folder / name).exists()), "other files")
    raise FileExistsError(
        f"{called or folder} already holds {what}. Give an empty or new folder, or {remedy}."
    )


def _write(result: Result, folder: Path) -> None:
    from safetensors.numpy import save_file

    maps = list(result.arrays.values())
    drawn = {i: one for i, one in enumerate(maps) if isinstance(one, DrawnMap)}
    values = [one.values if isinstance(one, DrawnMap) else one for one in maps]
    arrays = {f"map:{i}": np.ascontiguousarray(a) for i, a in enumerate(values)}
    arrays |= {
        f"contrasts:{i}": row.contrasts for i, row in enumerate(result.rows) if row.contrasts is not None
    }
    arrays |= {f"example:{name}": np.ascontiguousarray(a) for name, a in result.examples.items()}
    save_file(arrays, folder / MAPS_NAME, BLANKS)
    document = {
        "schema": SCHEMA,
        "files": {MAPS_NAME: seal(folder / MAPS_NAME)},
        "rows": result.rows,
        "curves": result.curve_rows,
        "baseline": result.baseline_rows,
        "maps": [list(key) for key in result.arrays],
        "draws": {i: [one.draw.shape, one.draw.count, one.draw.seed] for i, one in drawn.items()},
        "provenance": result.provenance,
    }
    write_sealed_json(folder / JSON_NAME, encoded(document))


def load(folder: str | Path, *, maps: bool = True) -> Result:
    """Load a saved result, as in `iv.load("run/")`. Safe for untrusted files: nothing is executed.

    Args:
        folder: the folder that `Result.save` wrote.
        maps: whether to load maps and examples; if False, their file may be missing.
    Raises:
        FileNotFoundError: the folder does not contain result.json.
        ValueError: the files are damaged, malformed, of a newer schema, or of two different results.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == JSON_NAME else folder
    return undisturbed(folder, (JSON_NAME, MAPS_NAME), lambda: _read(folder, maps=maps))


def _read(folder: Path, *, maps: bool) -> Result:
    if not (folder / JSON_NAME).is_file():
        if (folder / SHARD_NAME).is_file():
            load_shard(folder, sums=False).refuse(f"{JSON_NAME} in {folder}")
        raise FileNotFoundError(f"no {JSON_NAME} in {folder}; give the folder that Result.save wrote")
    document = _read_json(folder / JSON_NAME)
    arrays, examples = _read_arrays(folder / MAPS_NAME, document) if maps else ({}, {})
    rows = {"rows": document["rows"], "curve_rows": document["curves"], "baseline_rows": document["baseline"]}
    try:
        return Result(arrays=arrays, provenance=document["provenance"], examples=examples, **rows)
    except TypeError as error:
        raise ValueError(f"{folder / JSON_NAME} is malformed: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    found = read_sealed_json(path, newest=SCHEMA, what="a saved result")
    document = found.document
    needed = {"rows": list, "curves": list, "maps": list, "provenance": dict}
    if not all(isinstance(document.get(k), t) for k, t in needed.items()):
        raise ValueError(f"{path} is not a saved result; it needs the entries {sorted(needed)}")
    document.setdefault("baseline", [])  # missing in files of earlier versions
    document.setdefault("draws", {})
    if not isinstance(document["baseline"], list):
        raise ValueError(f"{path} is malformed: baseline must be a list of rows")
    if not all(isinstance(row, dict) for name in _ROWS for row in document[name]):
        raise ValueError(f"{path} is malformed: every row must be an object")
    if not all(map(_is_key, document["maps"])):
        raise ValueError(f"{path} is malformed: a map needs a measure, a layer, a stratum and a call")
    parts = document["provenance"]
    if not all(isinstance(parts.get(name, {}), dict) for name in ("model", "data", "transform", "measures")):
        raise ValueError(
            f"{path} is malformed: provenance must hold objects for model, data, transform and measures"
        )
    if not found.digest:
        document["provenance"] = _noted(parts)
    return document | {name: [_decode_row(row) for row in document[name]] for name in _ROWS}


def _is_key(key: Any) -> bool:
    kinds = (str, str, str, int)
    return isinstance(key, list) and len(key) == 4 and all(map(isinstance, key, kinds))


def _noted(provenance: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance with a note that the files have no digests."""
    notes = provenance.get("notes", [])
    return provenance | {"notes": [*notes, UNSEALED] if isinstance(notes, list) else [UNSEALED]}


def _read_arrays(path: Path, document: dict[str, Any]) -> tuple[dict, dict]:
    """Read maps and examples, and set the contrasts of the rows, which are stored in the same file."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; it contains the maps listed in {JSON_NAME}")
    arrays = read_arrays(path, document.get("files"), JSON_NAME)
    try:
        draws = {int(i): _draw(*facts) for i, facts in document["draws"].items()}
        maps = {
            tuple(key): DrawnMap(arrays[f"map:{i}"], draws[i]) if i in draws else arrays[f"map:{i}"]
            for i, key in enumerate(document["maps"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or does not match its {JSON_NAME}: {error}") from error
    for i, row in enumerate(document["rows"]):
        row |= {"contrasts": arrays[name]} if (name := f"contrasts:{i}") in arrays else {}
    prefix = "example:"
    return maps, {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}


def _draw(shape: list[int], count: int, seed: int) -> UnitDraw:
    return UnitDraw(tuple(shape), count, seed)


def encoded(value: Any) -> Any:
    """Convert a value for JSON: NaN becomes null, infinities become "Infinity" and "-Infinity"."""
    if isinstance(value, Mapping):
        return {str(key): encoded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encoded(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _decode_row(row: dict[str, Any]) -> dict[str, Any]:
    text = {"measure", "layer", "stratum", "label", "parameter", "note", "caution", "grid"}
    found = {key: value if key in text else _decode(value) for key, value in row.items()}
    wrong = [key for key, value in found.items() if key not in text and isinstance(value, (str, dict))]
    if wrong:
        raise ValueError(f"malformed row: {wrong[0]!r} must be a number, got {found[wrong[0]]!r}")
    return found


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(entry) for entry in value]
    if value is None:
        return math.nan
    return _INFINITE.get(value, value) if isinstance(value, str) else value
