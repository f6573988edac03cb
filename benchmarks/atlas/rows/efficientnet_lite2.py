"""EfficientNet-lite2 on photographs of animals."""

from benchmarks.atlas.efficientnet import entry

ENTRY = entry("lite2", side=260)
