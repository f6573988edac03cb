"""`invariscope measure --floor`."""

from __future__ import annotations

import numpy as np

import invariscope as iv


def test_the_floor_is_measured_when_it_is_asked_for(invoke):
    done = invoke("measure", "net.py:make", "digits.npz", "-t", "Rotation([0, 30])", "--floor")
    assert done.exit_code == 0, done.output
    saved = iv.load("run")
    assert np.isfinite(saved.table["floor"]).all()
    assert (saved.table["floor"] < saved.table["value"]).all()
