"""Lightning callback for a monitor."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from invariscope.loggers.scalars import MAIN, chosen, scalars

if TYPE_CHECKING:
    from invariscope.monitor.monitor import Monitor

# Two packages define the same classes, and a trainer accepts only those of its own package.
_HOMES = ("lightning.pytorch", "pytorch_lightning")


def lightning_callback(
    monitor: Monitor,
    *,
    model: Callable[[Any], Any] = lambda module: module,
    log: bool | Sequence[str] = True,
) -> Any:
    """Return a callback that measures before training, then after every epoch that is due.

        trainer = Trainer(callbacks=[lightning_callback(monitor)])

    Training resumed from a checkpoint rewinds the monitor to that epoch; give the monitor a `folder` to keep
    the earlier epochs. In distributed training, the first process measures and the others wait.

    Args:
        monitor: the monitor to call.
        model: a function that returns the network inside the LightningModule, such as
            `lambda module: module.net`. By default, the LightningModule itself is measured; its `forward`
            must then return the prediction.
        log: whether to send every finite value and interval to the trainer's loggers, as `MEASURE/LAYER` and
            `MEASURE.ci_low/LAYER`; or globs that choose numbers by name, such as
            ["prediction.flips*/output", "curve/prediction.accuracy/*"]. Names are those of
            `invariscope.loggers.scalars`.

    Raises:
        ImportError: the extra `lightning` is not installed.
    """

    class MonitorCallback(_callback_class()):  # type: ignore[misc]
        """Callback that calls the monitor before training and after each epoch."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Measure before the first epoch of a new or resumed run."""
            if trainer.is_global_zero:
                if trainer.current_epoch in monitor.results:
                    # Rejects a different training run before the rewind discards anything.
                    monitor(model(pl_module), trainer.current_epoch)
                monitor.rewind(trainer.current_epoch)
            _visit(trainer, pl_module, trainer.current_epoch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            """Measure after an epoch."""
            _visit(trainer, pl_module, trainer.current_epoch + 1)

    def _visit(trainer: Any, pl_module: Any, epoch: int) -> None:
        if trainer.is_global_zero:
            rows = monitor(model(pl_module), epoch)
            if log and rows:
                _log(trainer, monitor, epoch, log)
        trainer.strategy.barrier("invariscope monitor")

    return MonitorCallback()


def _log(trainer: Any, monitor: Monitor, epoch: int, log: bool | Sequence[str]) -> None:
    result = monitor.results[epoch]
    if isinstance(log, bool):
        found = dict(scalars(result, columns=MAIN, curves=False))
    else:
        found = chosen(result, [log] if isinstance(log, str) else log)
    for logger in trainer.loggers:
        logger.log_metrics(found, step=trainer.global_step)


def _callback_class() -> type:
    """Return the `Callback` class of the imported Lightning package, or else of the installed one."""
    for home in sorted(_HOMES, key=lambda home: home not in sys.modules):
        try:
            return importlib.import_module(home).Callback
        except ImportError:
            continue
    raise ImportError("lightning_callback needs Lightning: pip install 'invariscope[lightning]'")
