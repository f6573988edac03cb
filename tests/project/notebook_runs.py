"""Execute notebooks in a Jupyter kernel, with settings of their own."""

from __future__ import annotations

import os

import nbclient
import pytest
from marked_pages import ROOT


def execute(notebook, folder):
    """Execute all cells of a notebook, which then hold their outputs."""
    own = {name: str(folder / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    source = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (own | source).items():
            patch.setenv(name, value)
        patch.delenv("MPLBACKEND", raising=False)  # the kernel selects the backend that shows figures
        where = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
