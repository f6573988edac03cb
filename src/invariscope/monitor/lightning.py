"""A Lightning callback around a monitor."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invariscope.monitor.monitor import Monitor

# Two packages hold the same classes, and a trainer knows only those of its own.
_HOMES = ("lightning.pytorch", "pytorch_lightning")


def lightning_callback(
    monitor: Monitor, *, model: Callable[[Any], Any] = lambda module: module, log: bool = True
) -> Any:
    """A callback that measures before training, then after every epoch that is due.

        trainer = Trainer(callbacks=[lightning_callback(monitor)])

    A training that goes on from a checkpoint rewinds the monitor to it; give the monitor a `folder` so that
    it still knows the epochs before. With several processes the first one measures, the others wait.

    Args:
        monitor: what to measure, how often, on what.
        model: the network inside the LightningModule, `lambda module: module.net`; by default the
            LightningModule itself, whose `forward` then has to give the prediction.
        log: send every finite value to the trainer's loggers, as `MEASURE/LAYER`.

    Raises:
        ImportError: the extra `lightning` is not installed.
    """

    class MonitorCallback(_callback_class()):  # type: ignore[misc]
        """Calls the monitor at the ends of epochs."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Before the first epoch, or before the first one after a resume."""
            if trainer.is_global_zero:
                if trainer.current_epoch in monitor.results:
                    # Another training is refused here, before anything is forgotten.
                    monitor(model(pl_module), trainer.current_epoch)
                monitor.rewind(trainer.current_epoch)
            _visit(trainer, pl_module, trainer.current_epoch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            """After every epoch."""
            _visit(trainer, pl_module, trainer.current_epoch + 1)

    def _visit(trainer: Any, pl_module: Any, epoch: int) -> None:
        if trainer.is_global_zero:
            rows = monitor(model(pl_module), epoch)
            if log and rows:
                _log(trainer, monitor, epoch)
        trainer.strategy.barrier("invariscope monitor")

    return MonitorCallback()


def _log(trainer: Any, monitor: Monitor, epoch: int) -> None:
    from invariscope.monitor.tensorboard import scalars

    found = dict(scalars(monitor.results[epoch]))
    for logger in trainer.loggers:
        logger.log_metrics(found, step=trainer.global_step)


def _callback_class() -> type:
    """The `Callback` of the Lightning that the program uses, or of the one that is installed."""
    for home in sorted(_HOMES, key=lambda home: home not in sys.modules):
        try:
            return importlib.import_module(home).Callback
        except ImportError:
            continue
    raise ImportError("lightning_callback needs Lightning: pip install 'invariscope[lightning]'")
