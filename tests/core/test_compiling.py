"""Compiled loops where no machine code can be cached."""

import numba
import pytest

from invariscope.statistics.compiling import compiled


def test_a_function_without_a_place_for_a_cache_is_compiled_all_the_same():
    names = {}
    exec("def twice(x):\n    return 2 * x", names)  # the function has no file
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(names["twice"])
    assert compiled(boundscheck=False)(names["twice"])(21) == 42
