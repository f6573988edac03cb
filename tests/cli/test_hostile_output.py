"""Names reach the terminal as text: no escape sequence, override of direction or lone surrogate does."""

import pytest

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
