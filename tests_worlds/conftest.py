"""One thread per framework, and Keras on TensorFlow unless the environment names another back-end."""

from __future__ import annotations

import importlib
import importlib.util
import os

for _name, _value in {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}.items():
    os.environ.setdefault(_name, _value)

# Some draw from NumPy's global generator while they are imported, which tests may not. pytest also loads this
# file for tests of other folders, in environments without these packages.
for _name in ("flax", "jax", "keras"):
    if importlib.util.find_spec(_name):
        importlib.import_module("flax.nnx" if _name == "flax" else _name)
