"""EfficientNet-lite0 on photographs of animals."""

from benchmarks.atlas.efficientnet import entry

ENTRY = entry("lite0", side=224)
