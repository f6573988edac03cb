"""Measurements during training, every k epochs on the same samples, for any training loop.

    monitor = iv.Monitor(test, iv.Rotation.circle(16), every=2)
    monitor(model, 0)
    for epoch in range(1, epochs + 1):
        ...  # one epoch of training
        monitor(model, epoch)
    monitor.table

Lightning and TensorBoard are imported only when used.
"""

from invariscope.loggers.tensorboard import TensorBoardWriter
from invariscope.monitor.history import History
from invariscope.monitor.lightning import lightning_callback
from invariscope.monitor.monitor import Monitor
from invariscope.monitor.saved import load_history

__all__ = ["History", "Monitor", "TensorBoardWriter", "lightning_callback", "load_history"]
