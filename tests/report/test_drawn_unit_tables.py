"""Tables of the report and of the terminal say which units were drawn."""

import io

import pytest
import torch
from rich.console import Console

import invariscope as iv
from invariscope.cli.tables import result_tables
from invariscope.report.facts import words
from invariscope.report.tables import row_table


@pytest.fixture(scope="module", params=[100, "all"])
def case(request):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
    x = torch.rand(64, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    units = request.param
    return iv.measure(model, x, iv.QuarterTurns(), units=units, progress=False), units == 100


def test_the_report_has_columns_for_drawn_units_only_if_there_are_any(case):
    result, drawn = case
    headings = [column.label for column in row_table([result]).columns]
    assert ("Drawn from" in headings) == ("Drawing error" in headings) == drawn
    assert ("drawing error" in dict(words([result]))) == drawn


def test_the_terminal_says_from_how_many_units_some_were_drawn(case):
    result, drawn = case
    console = Console(file=io.StringIO(), width=120)
    console.print(*result_tables(result))
    assert ("100 of 800" in console.file.getvalue()) == drawn
