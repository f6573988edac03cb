"""What is said when the place of a command's output is taken, and how data files name their arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

MEASURE = ("measure", "net.py:make", "digits.npz", "-t", "quarter_turns", "--no-progress")


@pytest.mark.parametrize("named", [[], ["--out", "run"]])
def test_a_used_folder_is_said_to_be_the_usual_one(named, finished, fails):
    finished("run")
    said = fails(*MEASURE, *named)
    assert "run, the default of --out, already holds a saved result. Give an empty or new folder" in said


def test_another_used_folder_is_called_by_its_name_alone(finished, fails):
    finished("mine")
    assert "error: mine already holds a saved result." in fails(*MEASURE, "--out", "mine")


def test_a_used_folder_of_curves_is_told_before_anything_is_read(fails):
    Path("curve").mkdir()
    Path("curve/notes.txt").write_text("precious")
    said = fails("curve", "nothing.py:make", "nowhere.npz")
    assert "curve, the default of --out, already holds other files." in said


def test_the_help_names_every_array_name_that_is_read(invoke):
    said = " ".join(invoke("measure", "--help").stdout.replace("│", " ").split())
    assert "inputs x (or images, inputs) and labels y (or labels, targets)" in said
    digits = np.load("digits.npz")
    np.savez("named.npz", inputs=digits["x"], targets=digits["y"])
    done = invoke("measure", "net.py:make", "named.npz", *MEASURE[3:], "--by-class")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", [("measure", "-t", "quarter_turns"), ("curve", "--radii", "2")])
def test_words_as_labels_are_compared_with_outputs_by_the_names_given(command, invoke):
    digits, names = np.load("digits.npz"), np.array(["nil", "one", "two"])
    np.savez("words.npz", x=digits["x"], y=names[digits["y"]])
    name, *options = command
    asked = (name, "net.py:make", "words.npz", *options, "--no-progress")
    asked += ("-m", "prediction") if name == "measure" else ()
    without = invoke(*asked, "--out", "without")
    assert without.exit_code == 0, without.output
    said = " ".join(without.stderr.split())
    assert "no accuracy: the labels are words" in said
    assert "(--classes cat,dog on the command line; --classes sorted for" in said
    done = invoke(*asked, "--classes", ", ".join(names))
    assert done.exit_code == 0, done.output
    assert "no accuracy" not in done.stderr
