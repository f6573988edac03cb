"""A result says from which layers units were drawn."""

import torch

import invariscope as iv


def notes(units):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())
    x = torch.rand(16, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    result = iv.measure(model, x, iv.QuarterTurns(), units=units, progress=False)
    return [note for note in result.provenance["notes"] if "drawn" in note]


def test_a_note_says_from_how_many_layers_units_were_drawn():
    assert notes(100) == [
        "100 units were drawn from each of 2 large layers; intervals include the resulting sampling error "
        "(units='all' measures every unit)"
    ]


def test_nothing_is_said_if_all_units_are_measured():
    assert notes("auto") == notes("all") == []
