"""Readers of the layers of torch modules, of models of other frameworks, and of any callable."""

from __future__ import annotations

from invariscope.readers.base import (
    READERS,
    Forward,
    Inspection,
    LayerInfo,
    Reader,
    Reading,
    as_reader,
)
from invariscope.readers.batch_dependence import Dependence, depends_on_batch
from invariscope.readers.callable_reader import CallableReader
from invariscope.readers.channel_mean import ChannelMean
from invariscope.readers.torch.reader import TorchReader

__all__ = [
    "READERS",
    "CallableReader",
    "ChannelMean",
    "Dependence",
    "Forward",
    "Inspection",
    "LayerInfo",
    "Reader",
    "Reading",
    "TorchReader",
    "as_reader",
    "depends_on_batch",
]
