"""EfficientNet-lite1 on photographs of animals."""

from benchmarks.atlas.efficientnet import entry

ENTRY = entry("lite1", side=240)
