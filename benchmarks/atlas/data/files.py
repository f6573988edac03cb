"""Text files of installed packages: programs, data and prose."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.atlas.declared import Samples

PACKAGES = {
    "torch": "torch",
    "bokeh": "bokeh",
    "scikit-learn": "sklearn",
    "matplotlib": "matplotlib",
    "scikit-image": "skimage",
}
KINDS = """
    c cmake cpp css csv h html js json md pxd py pyi pyx rst sh svg toml ts txt xml yaml yml
"""
SMALLEST = 200  # bytes


def files(each: int) -> Samples:
    """Return the same number of files of each kind, drawn by the digest of their content."""
    found = {kind: by_digest(kind)[:each] for kind in KINDS.split()}
    return Samples(
        name="files",
        source=", ".join(f"{name} {version(name)}" for name in PACKAGES),
        licence="BSD-3-Clause, PSF",
        about=f"text files of these packages, up to {each} for each suffix",
        values=[content.decode() for contents in found.values() for content in contents],
        cluster="file",
    )


def by_digest(kind: str) -> list[bytes]:
    """Return the contents of the files with a suffix, each content once."""
    paths = [path for module in PACKAGES.values() for path in folder(module).rglob(f"*.{kind}")]
    texts = {path.read_bytes() for path in paths if path.stat().st_size >= SMALLEST}
    return sorted((text for text in texts if is_text(text)), key=lambda text: hashlib.sha256(text).digest())


def folder(module: str) -> Path:
    """Return the folder of a module, without importing it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def is_text(content: bytes) -> bool:
    """Return whether a file is text in UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
