"""Data by name: bundled and published data sets, files and folders, and user code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.cli.references import is_reference, load_reference
from invariscope.common.registry import unknown

if TYPE_CHECKING:
    from invariscope.cli.options import Origin


def load_data(name: str, *, split: str | None = None, data_dir: Path | None = None, **how: Any) -> Any:
    """Load data by name.

    Args:
        name: a data set ("mnist_subset", "zoo:mnist_subset"), a reference ("file.py:factory") to anything
            that `iv.measure` takes, or whatever `iv.read_data` reads.
        split: for data sets, "train" or "test"; None means "test".
        data_dir: for data sets, the folder with the published files.
        how: further options of `iv.read_data`.
    Raises:
        ValueError: an unknown name or split, an unreadable file, or a file without an array of inputs.
        FileNotFoundError: files are missing; the message names them.
    """
    from invariscope.data.files.reading import HUB, KINDS, read_data
    from invariscope.zoo.datasets import DATASETS, load

    plain = name.removeprefix("zoo:")
    if plain in DATASETS:
        _refuse_options(name, "published data set", how)
        return load(plain, split=split or "test", data_dir=data_dir)
    hub = name.startswith(HUB)
    if data_dir is not None:
        raise ValueError(f"--data-dir applies to data sets ({', '.join(DATASETS)}), not to {name!r}")
    if is_reference(name) and not hub and not name.startswith("zoo:"):
        if split is not None:
            raise ValueError(f"--split applies to data sets, not to {name!r}")
        _refuse_options(name, "object of your code", how)
        return load_reference(name)
    path = Path(name)
    if not hub and not path.suffix and not path.exists():
        raise unknown("data", name, DATASETS, hint=f"Or give {KINDS}; or file.py:factory.")
    return read_data(name, split=split, **how)


_OPTIONS = {"size": "--size", "inputs": "--inputs-from", "labels": "--labels-from"}


def _refuse_options(name: str, kind: str, how: dict[str, Any]) -> None:
    given = [_OPTIONS[option] for option, value in how.items() if value is not None]
    if given:
        raise ValueError(f"{' and '.join(given)} apply to data in files; {name!r} is a {kind}")


def data_of(data: str, origin: Origin) -> Any:
    """Load the data of a command, with its options."""
    how = {"size": origin.size, "inputs": origin.inputs_from, "labels": origin.labels_from}
    return load_data(data, split=origin.split, data_dir=origin.data_dir, **how)
