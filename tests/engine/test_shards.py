"""Shards give the numbers of a single process, however many there are."""

import functools

import pytest
from shard_cases import assert_same, images, measured, merged

from invariscope.measures.base import MEASURES

INSTANCES = [
    pytest.param(measure, id=f"{name}-{number}")
    for name, cls in sorted(MEASURES.classes().items())
    for number, measure in enumerate(cls.examples())
]


@functools.cache
def alone(measure, **options):
    """The result of a single process."""
    return measured(images(), measure, **options)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("measure", INSTANCES)
def test_any_number_of_shards_gives_the_numbers_of_one_process(measure, count):
    by_class = {"by_class": True}
    assert_same(merged(images(), count, measure, **by_class), alone(measure, **by_class))
