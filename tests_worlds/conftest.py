"""One thread per framework, and Keras on TensorFlow unless the environment names another back-end."""

from __future__ import annotations

import os

for _name, _value in {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}.items():
    os.environ.setdefault(_name, _value)

# Some draw from NumPy's global generator while they are imported, which tests may not.
import flax.nnx  # noqa: E402, F401
import jax  # noqa: E402, F401
import keras  # noqa: E402, F401
