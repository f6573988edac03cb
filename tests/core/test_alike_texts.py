"""Texts that differ only in numbers are shown once, with the range of each number."""

import pytest

from invariscope.common.wording import alike


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["a group has 1", "a group has 4", "a group has 2"], ["a group has 1 to 4"]),
        (["9 of 1,000 units", "1,200 of 1,000 units"], ["9 to 1,200 of 1,000 units"]),
        (["2.9 samples; 5 needed", "3.04 samples; 5 needed"], ["2.9 to 3.04 samples; 5 needed"]),
        (["same", "same"], ["same"]),
        ([], []),
    ],
)
def test_numbers_that_differ_become_a_range(texts, shown):
    assert [text for text, _ in alike(texts)] == shown


@pytest.mark.parametrize(
    "texts", [["conv1 is dead", "conv2 is dead"], ["as '3'", "as '5'"], ["a.0.b", "a.1.b"]]
)
def test_numbers_within_names_tell_texts_apart(texts):
    assert alike(texts) == [(texts[0], [0]), (texts[1], [1])]


def test_every_text_is_counted_at_its_position():
    assert alike(["3 few", "none", "1 few", "none", "3 few"]) == [("1 to 3 few", [0, 2, 4]), ("none", [1, 3])]
