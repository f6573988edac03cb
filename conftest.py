"""Settings that all tests share: one thread per worker, and reproducible properties."""

from __future__ import annotations

import os

# The suite runs one worker per core. Set before torch, numba and BLAS are first imported.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")
# With one of these, typer and rich write colours into captured output too.
for _name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)

import hypothesis  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

pytest_plugins = ["unseeded_draws"]

# A slow machine is not a failure, and a failure must be reproducible.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("suite")
