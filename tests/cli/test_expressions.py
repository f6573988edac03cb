"""Transforms and measures are read as in Python, and nothing in them is ever run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import invariscope as iv
from invariscope.catalog.expressions import MAX_LENGTH, read_measures, ways
from invariscope.cli.expressions import read_transform
from invariscope.transforms.base import TRANSFORMS, Transform

WRITTEN = {
    "Rotation.circle(16)": iv.Rotation.circle(16),
    "rotation": iv.Rotation(),
    "quarter_turns": iv.QuarterTurns(),
    "QuarterTurns()": iv.QuarterTurns(),
    "Rotation([-90, 0, +12.5])": iv.Rotation([-90, 0, 12.5]),
    "Rotation.range(-45, 45, 5, jitter_deg=1.0)": iv.Rotation.range(-45, 45, 5, jitter_deg=1.0),
    " Scale((0.8, 1.0), padding='border') ": iv.Scale((0.8, 1.0), padding="border"),
    "Translation([(0, 0), (1, -2)])": iv.Translation([(0, 0), (1, -2)]),
    "Grid(Rotation.circle(4), Scale([0.8, 1.0]))": iv.Grid(iv.Rotation.circle(4), iv.Scale([0.8, 1.0])),
    "Grid(Flip(), quarter_turns)": iv.Grid(iv.Flip(), iv.QuarterTurns()),
    "Compose([Rotation([0, 90]), Rotation([0, 5])])": iv.Compose([iv.Rotation([0, 90]), iv.Rotation([0, 5])]),
}

HOSTILE = [
    "__import__('os').system('touch sentinel')",
    "open('sentinel', 'w')",
    'exec(\'open("sentinel", "w")\')',
    "Rotation(__import__('os').system('touch sentinel'))",
    "Rotation([open('sentinel', 'w')])",
    'Rotation.circle(m=eval(\'open("sentinel", "w")\'))',
    "Rotation.circle.__func__.__globals__['open']('sentinel', 'w')",
    "Rotation.__init__.__globals__",
    "Rotation.__subclasses__()",
    "Rotation._for_nobody()",
    "Rotation.examples()",
    "Rotation.circle(16).orbit(1)",
    "(lambda: open('sentinel', 'w'))()",
    "[open('sentinel', 'w') for _ in (1,)]",
    "Rotation(f\"{open('sentinel', 'w')}\")",
    "Rotation(*[open('sentinel', 'w')])",
    "Rotation(**{'degrees': [1]})",
    "Rotation((x := [1]))",
    "Rotation([1] * 1000000000)",
    "Rotation([9 ** 9 ** 9])",
    "Rotation({1: 2})",
    "Rotation(b'1')",
    "Rotation(1j)",
    "Rotation(-'1')",
    "Rotation(--1)",
    "Rotation(-True)",
    "Rotation(...)",
    "Registry('a', 'b')",
    "Path('sentinel').touch()",
    "import os",
    "x = 1",
    "",
    "'net.py:make'",
    "(" * 3000,
    "-" * 3000 + "1",
    "Rotation(" + "[" * 3000 + "]" * 3000 + ")",
    "Rotation.circle(16)" + " " * MAX_LENGTH,
    "Rotation\0",
]


@pytest.mark.parametrize("text", WRITTEN, ids=lambda text: text.strip())
def test_a_transform_is_what_python_would_make_of_the_text(text):
    assert read_transform(text) == WRITTEN[text]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
@pytest.mark.parametrize("read", [read_transform, lambda text: read_measures([text])])
def test_anything_but_a_transform_or_measure_is_refused_without_being_run(text, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    with pytest.raises((ValueError, TypeError)):
        read(text)
    assert (ran, list(tmp_path.iterdir())) == ([], [])


def test_the_sentinel_would_show_that_a_text_was_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    eval(HOSTILE[1]).close()
    assert Path("sentinel").exists()


def test_measures_come_one_by_one_or_separated_by_commas():
    read = read_measures(["normalized_variance, Prediction()", "TransformationVariance(spread='std')"])
    assert read == (
        iv.NormalizedVariance(),
        iv.Prediction(),
        iv.TransformationVariance(spread="std"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rotatoin", "Closest: 'rotation'"),
        ("Rotatoin.circle(3)", "Closest: 'rotation'"),
        ("Rotation.cirle(3)", "Closest: 'circle'"),
        ("Rotation.circle(n=3)", r"missing a required argument: 'm'. Write .*Rotation.circle\(m, \*"),
        ("Rotation.circle(16, 3)", "too many positional arguments"),
        ("brightness(0.5, 1)", r"Give several numbers as a list: Brightness\(\[0.5, 1\]\)"),
        ("Rotation.circle(16", "was never closed"),
        ("Flip(), QuarterTurns()", "names 2 transforms"),
        ("Rotation.circle(0)", "0"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_write(text, said):
    with pytest.raises((ValueError, TypeError), match=said):
        read_transform(text)


def test_an_unknown_measure_gets_the_closest_names():
    with pytest.raises(ValueError, match="Closest: 'normalized_variance'"):
        read_measures(["normalised_variance"])


@pytest.mark.parametrize("cls", TRANSFORMS.classes().values(), ids=lambda cls: cls.__name__)
def test_every_transform_shows_how_it_is_written_on_a_line(cls):
    assert all(
        way.startswith(cls.__name__) and len(way) < 180 and "0x" not in way for way in ways(cls, Transform)
    )
