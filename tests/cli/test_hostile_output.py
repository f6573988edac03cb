"""Names reach the terminal as text: no escape sequence, override of direction or lone surrogate does."""

import sys

import pytest

from invariscope.cli import main
from invariscope.cli.console import complain, notice, show, show_line
from invariscope.cli.tables import plain_table
from invariscope.common.progress import terminal_bars
from invariscope.common.wording import visible

NAME = "a\x1b[2J\x07\u202eb\ud83d[bold]"
SHOWN = "a\\x1b[2J\\x07\\u202eb\\ud83d[bold]"


def with_bar(name):
    with terminal_bars() as bar:
        bar(name)(1, 1)


@pytest.mark.parametrize(
    "say",
    [
        show,
        show_line,
        notice,
        complain,
        with_bar,
        lambda name: show(plain_table(name, ["layer", "value"], [["conv", "1"]])),
        lambda name: show(plain_table("table", ["layer", "value"], [[name, "1"]])),
        lambda name: show(plain_table("table", [name, "value"], [["conv", "1"]])),
    ],
)
def test_whatever_is_printed_shows_names_escaped(say, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    say(NAME)
    said = "".join(capsys.readouterr())
    assert SHOWN in said.replace("\n", "")  # titles wrap
    assert not any(character in said for character in "\x07\u202e\ud83d")
    assert "\x1b[2J" not in said


def test_layout_and_scripts_of_all_languages_stay():
    text = "Größe 大きさ שלום مرحبا 👩‍👩‍👧 x²\n\tend"
    assert visible(text, keep="\n\t") == text


def test_lines_of_a_name_do_not_look_like_messages(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    complain("a\nerror: forged is no file")
    assert capsys.readouterr().err.splitlines() == ["error: a", "  error: forged is no file"]


def test_endless_names_are_shortened(capsys):
    complain("x" * 1_000_000 + " does not exist")
    assert len(said := capsys.readouterr().err) < 20_000
    assert said.rstrip().endswith("does not exist")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["measure", "", "x"], "an argument"), (["measure", "net", "x", "--out", ""], "the value of --out")],
)
def test_an_unset_variable_of_the_shell_is_not_the_working_folder(arguments, what, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["invariscope", *arguments])
    monkeypatch.setattr("invariscope.cli.end_on_signals", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"error: {what} is empty" in capsys.readouterr().err
