"""A pytest plugin: no outcome depends on the state in which a test finds the global generators.

Every test, module and shared fixture finds the global generators of torch, NumPy and Python in a state that
follows from `--global-seed` and its own name, and fails if it draws from them before it seeds them. Shared
fixtures leave them as they were, so that no test depends on which of them it is the first to need.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import rich.style  # noqa: F401  # draws from Python's generator, once, when it is imported
import torch

ADVICE = "Pass a generator of its own (torch, NumPy, Python), or seed the global one first."


class Watch:
    """The global generators since they were given a state of their own."""

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=7).digest()
        self._seed = int.from_bytes(digest, "big")
        # torch.manual_seed does the same, and writes down the whole call stack for CUDA.
        torch.default_generator.manual_seed(self._seed)
        np.random.seed(self._seed % 2**32)
        random.seed(self._seed)
        self._start = _states()
        self._early = False
        self._others: set[str] = set()  # NumPy and Python, seeded before they were drawn from

    def drawn(self) -> list[str]:
        """Names of the generators that were drawn from, and not seeded before."""
        now = _states()
        moved = [name for name in now if now[name] != self._start[name]]
        late = [name for name in moved if name != "torch" or self._early or self._unseeded()]
        return [name for name in late if name not in self._others]

    def before_seeding_of(self, name: str) -> None:
        """Notes that the generator of NumPy or Python is seeded, if it was not drawn from until then."""
        if _states()[name] == self._start[name]:
            self._others.add(name)

    def before_seeding(self) -> None:
        """Notes what was drawn from torch's generator until it is seeded."""
        self._early |= self._unseeded() and _states()["torch"] != self._start["torch"]

    def _unseeded(self) -> bool:
        return torch.initial_seed() == self._seed


def _states() -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)["state"]
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (numpy["key"].tobytes(), numpy["pos"]),
        "Python": random.getstate(),
    }


@contextmanager
def watched(seed: int, name: str) -> Iterator[Watch]:
    """Give the global generators a state that belongs to the name, and put back theirs afterwards."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    watch, seeded = Watch(seed, name), torch.manual_seed

    def manual_seed(value: int) -> torch.Generator:
        watch.before_seeding()
        return seeded(value)

    def noting(name: str, seeding: Callable[..., Any]) -> Callable[..., Any]:
        def seed_and_note(*arguments: Any) -> Any:
            watch.before_seeding_of(name)
            return seeding(*arguments)

        return seed_and_note

    try:
        with (
            mock.patch.object(torch, "manual_seed", manual_seed),
            mock.patch.object(np.random, "seed", noting("NumPy", np.random.seed)),
            mock.patch.object(random, "seed", noting("Python", random.seed)),
        ):
            yield watch
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def complaint(watch: Watch, name: str) -> str:
    """What is wrong, if anything is."""
    drawn = " and ".join(watch.drawn())
    return drawn and f"{name} draws from the global generator of {drawn} before seeding it. {ADVICE}"


@pytest.fixture
def seeded() -> None:
    """Seed torch's global generator: for tests of which any weights and inputs will do."""
    torch.manual_seed(0)


_WATCH = pytest.StashKey[Watch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The seed of the states that tests find."""
    parser.addoption(
        "--global-seed",
        type=int,
        default=0,
        help="where the global generators start (no outcome may depend on it)",
    )


def _seed(config: pytest.Config) -> int:
    return config.getoption("--global-seed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """A test, with the fixtures that are its own."""
    with watched(_seed(item.config), item.nodeid) as item.stash[_WATCH]:
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    """The end of the test, teardown aside."""
    result = yield
    if said := complaint(item.stash[_WATCH], item.name):
        pytest.fail(said, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fixture that several tests share."""
    if fixturedef.scope == "function":
        return (yield)
    with watched(_seed(request.config), f"{fixturedef.baseid} {fixturedef.argname}") as watch:
        result = yield
        if said := complaint(watch, f"fixture {fixturedef.argname}"):
            pytest.fail(said, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    """The import of a module."""
    with watched(_seed(collector.config), collector.nodeid) as watch:
        report = yield
        if report.passed and (said := complaint(watch, collector.nodeid)):
            report.outcome, report.longrepr = "failed", said
    return report
