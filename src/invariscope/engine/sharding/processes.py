"""The processes of a `torch.distributed` run, which measure one share of the samples each."""

from __future__ import annotations

import datetime
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_START = datetime.timedelta(minutes=5)  # between the first and the last process that starts to measure
_WAIT = datetime.timedelta(hours=24)  # for the slowest share; a process that ends is noticed at once
_BEAT_SECONDS = 1.0
_PATIENCE_SECONDS = 10.0
_LOG = logging.getLogger(__name__)
_PIECE = 1 << 28  # bytes per message
_WALKING, _DONE, _FAILED = range(3)

# The rendezvous of torchrun's variables; it may be used once per process, for any number of groups.
_rendezvous: dict[str, Any] = {}


def launched() -> bool:
    """Return whether this is one of several processes of `torch.distributed` or torchrun."""
    if not dist.is_available():
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    if not all(os.environ.get(name) for name in _VARIABLES):
        return False
    rank, size = map(_whole, ("RANK", "WORLD_SIZE"))
    if not 0 <= rank < max(size, 1):
        raise ValueError(
            f"the environment has RANK={rank} and WORLD_SIZE={size}, but ranks are from 0 to {size - 1}; "
            "unset both to measure in one process"
        )
    return size > 1


def _whole(name: str) -> int:
    try:
        return int(os.environ[name])
    except ValueError:
        raise ValueError(f"the environment variable {name} is {os.environ[name]!r}, not an integer") from None


def is_first_process() -> bool:
    """Return whether this process writes results: the only one, or rank 0."""
    if not launched():
        return True
    return (dist.get_rank() if dist.is_initialized() else int(os.environ["RANK"])) == 0


def bare(model: Any) -> Any:
    """Return the model inside `DistributedDataParallel`, whose layers have the names of the model itself."""
    kind = getattr(torch.nn.parallel, "DistributedDataParallel", None)
    return model.module if kind is not None and isinstance(model, kind) else model


@contextmanager
def team() -> Iterator[Team]:
    """Yield the processes that measure together, connected by gloo.

    Raises:
        RuntimeError: not all processes start to measure.
    """
    own = not dist.is_initialized()
    try:
        if own:
            _join()
        groups: list[Any] = [dist.new_group(backend="gloo", timeout=limit) for limit in (_WAIT, _START)]
        dist.monitored_barrier(groups[0], timeout=_START, wait_all_ranks=True)
    except (RuntimeError, ValueError) as error:
        if own and dist.is_initialized():
            dist.destroy_process_group()
        raise RuntimeError(
            f"not all processes of this torch.distributed run started to measure ({_first_line(error)}): "
            "call iv.measure in all of them, or with shard=False to measure in one process alone"
        ) from error
    try:
        yield Team(dist.get_rank(), dist.get_world_size(), *groups)
    finally:
        if own:
            dist.destroy_process_group()
        else:
            for group in groups:
                dist.destroy_process_group(group)


def _join() -> None:
    """Initialise a group of its own from torchrun's variables."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if not _rendezvous:
        with _patience():
            store, rank, size = next(rendezvous("env://", timeout=_START))
        _rendezvous.update(store=store, rank=rank, size=size, used=0)
    _rendezvous["used"] += 1
    store = PrefixStore(f"invariscope/{_rendezvous['used']}", _rendezvous["store"])
    places = {"rank": _rendezvous["rank"], "world_size": _rendezvous["size"]}
    dist.init_process_group("gloo", store=store, timeout=_START, **places)


@contextmanager
def _patience() -> Iterator[None]:
    """Say what is being waited for, if it takes long."""
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    text = "waiting up to %s for the first process of this torch.distributed run at %s"
    timer = threading.Timer(_PATIENCE_SECONDS, _LOG.warning, [text, _START, place])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass
class Team:
    """The processes that measure together.

    Args:
        rank, size: number of this process, and of all.
        group: for states and results.
        beats: for a thread that notices when another process fails or ends.
    """

    rank: int
    size: int
    group: Any
    beats: Any
    _status: int = _WALKING
    _reason: str = ""
    _lost: list[str] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch all processes until each has left this block, and raise RuntimeError if one failed."""
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
            self._status = _DONE
        except BaseException as error:
            self._status, self._reason = _FAILED, f"{type(error).__name__}: {error}"
            thread.join(timeout=3 * _BEAT_SECONDS)
            raise
        thread.join()
        self.refuse_lost()

    def refuse_lost(self, *_: Any) -> None:
        """Raise RuntimeError if another process has failed or ended."""
        if self._lost:
            raise RuntimeError(self._lost[0])

    def _beat(self) -> None:
        """Exchange the status of all processes every second, until all are done or one has failed."""
        pause = threading.Event()
        while True:
            status = [self._status]
            found: list[Any] = [None] * self.size
            try:
                dist.all_gather_object(found, (self._status, self._reason), group=self.beats)
            except RuntimeError as error:
                self._lost.append(self._ended(error))
                return
            for rank, (status, reason) in enumerate(found):
                if status == _FAILED and rank != self.rank:
                    self._lost.append(f"process {rank} of {self.size} failed: {reason}")
            if any(status == _FAILED for status, _ in found) or all(s == _DONE for s, _ in found):
                return
            pause.wait(_BEAT_SECONDS if self._status == _WALKING else _BEAT_SECONDS / 10)

    def _ended(self, error: RuntimeError) -> str:
        return (
            f"another of the {self.size} processes has ended or lost its connection ({_first_line(error)}). "
            "Nothing was written; see its own messages, and start again"
        )

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Raise RuntimeError that says so if another process ends within the block."""
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(self._ended(error)) from error

    def everyone(self, value: Any) -> list[Any]:
        """Gather a small plain value from every process, in rank order."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.group)
        return found

    def send(self, content: bytes, to: int) -> None:
        """Send bytes to another process, which calls `receive`."""
        dist.send(torch.tensor([len(content)]), self._of_all(to), group=self.group)
        for piece in _pieces(torch.from_numpy(np.frombuffer(content, np.uint8).copy())):
            dist.send(piece, self._of_all(to), group=self.group)

    def receive(self, source: int) -> bytes:
        """Return the bytes that another process sends."""
        size = torch.zeros(1, dtype=torch.int64)
        dist.recv(size, self._of_all(source), group=self.group)
        found = torch.empty(int(size), dtype=torch.uint8)
        for piece in _pieces(found):
            dist.recv(piece, self._of_all(source), group=self.group)
        return found.numpy().tobytes()

    def _of_all(self, rank: int) -> int:
        return dist.get_global_rank(self.group, rank)


def _pieces(whole: Tensor) -> Iterator[Tensor]:
    """Yield parts of bytes that fit into one message."""
    for low in range(0, len(whole), _PIECE):
        yield whole[low : low + _PIECE]


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
