"""Frameworks that place their models themselves refuse device= and say what to do."""

from __future__ import annotations

import pytest

from invariscope.readers.base import READERS
from invariscope.readers.recorded import RecordedReader

RECORDED = [cls for cls in READERS.classes().values() if issubclass(cls, RecordedReader)]


@pytest.mark.parametrize("cls", RECORDED, ids=lambda cls: cls.__name__)
def test_another_device_is_refused_with_what_to_do(cls):
    reader = object.__new__(cls)  # none of the frameworks is needed to refuse
    with pytest.raises(ValueError, match=r"places its models itself\. Leave device= out, and ") as caught:
        reader._check_place("cuda:0", "float32")
    words = {"Keras": "keras.device", "JAX": "jax_default_device", "ONNX": "onnxruntime.InferenceSession"}
    assert words[reader.framework] in str(caught.value)
    reader._check_place("cpu", "float32")


def test_every_framework_is_covered():
    assert {object.__new__(cls).framework for cls in RECORDED} == {"Keras", "JAX", "ONNX"}
