"""Every dynamic or stateful model is read correctly, layer by layer, or refused with a reason."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import invariscope as iv
from dynamic_models import DYNAMIC_MODELS, SAMPLES

UNEVEN = "depends on the values or number of the inputs"

ELEMENTS = [lambda v: v, lambda v: v.flip(-1), lambda v: v.roll(2, -1)]
READ = sorted(name for name, planted in DYNAMIC_MODELS.items() if not planted.refused)
REFUSED = sorted(set(DYNAMIC_MODELS) - set(READ))


def measured(net, x, **options):
    return iv.measure(
        net,
        x,
        ELEMENTS,
        **{"measures": ["transformation_variance"], "layers": "*", "progress": False, "rows": "all"}
        | options,
    )


def assert_right(result, planted):
    """Exactly the readable layers are measured, and match brute force on one input at a time."""
    net, x = planted.build()
    found = {key[1]: values for key, values in result.maps.items() if key[0] == "transformation_variance"}
    modules = {name for name, _ in net.named_modules()} | {type(net).__name__}
    assert found.keys() & modules == planted.reads.keys()
    with torch.no_grad():
        for layer, response in planted.reads.items():
            orbits = [
                torch.stack([response(net, f(x[i : i + 1]))[0] for f in ELEMENTS]) for i in range(SAMPLES)
            ]
            brute = torch.stack(orbits).var(1).mean(0).numpy()
            np.testing.assert_allclose(found[layer], brute, rtol=1e-9, err_msg=layer)
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    for layer, why in planted.why.items():
        assert re.search(why, skipped[layer]), (layer, skipped[layer])
    assert not skipped.keys() & set(result.table.layer)


@pytest.mark.parametrize("batch_size", [4, 7, 64])
@pytest.mark.parametrize("name", READ)
def test_a_dynamic_model_matches_brute_force_or_reports_what_is_left_out(name, batch_size):
    net, x = DYNAMIC_MODELS[name].build()
    ran = set()
    for layer, module in net.named_modules():
        module.register_forward_hook(lambda *_, layer=layer: ran.add(layer))
    result = measured(net, x, batch_size=batch_size)
    assert_right(result, DYNAMIC_MODELS[name])
    assert not ran & set(result.provenance["unused"])


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_responds_to_more_than_its_input_is_refused(name, batch_size):
    planted = DYNAMIC_MODELS[name]
    net, x = planted.build()
    with pytest.raises(ValueError, match=planted.refused):
        measured(net, x, batch_size=batch_size)


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("name", ["experts", "sorted_by_a_score", "exit_of_single_samples"])
def test_what_is_left_out_does_not_depend_on_the_first_samples(name, first):
    planted = DYNAMIC_MODELS[name]
    net, x = planted.build()
    chosen = net.gate(x).argmax(-1)
    x = x[(chosen != first).long().argsort(stable=True)]  # at the head those of one expert
    result = measured(net, iter(x.split(10)), batch_size=30)
    assert set(planted.reads) <= set(result.table.layer)
    assert set(planted.why) <= {entry["layer"] for entry in result.provenance["skipped"]}


# --- what is left out stays left out --------------------------------------------------------------------


class LateDrop(torch.nn.Module):
    """`late` runs for inputs up to 9, which come first; `always` runs for all."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.always, self.late = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)

    def forward(self, x):
        if (x[:, 0].abs() < 9).all():
            self.late(x)
        return self.always(x)


def stream(*, odd=48):
    """Batches of 8 inputs, of which one, late, is unlike the others."""
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(2))
    x[odd] = 10.0
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(64) % 2), 8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"by_class": True},
        {"measures": ["normalized_variance", "information", "goodfellow", "anova"]},
        {"floor": True},
        {"baseline": "random", "draws": 2},
        {"width": 1e-9, "at_least": 64},
        {"nonfinite": "skip"},
        {"measures": ["consistency", "normalized_variance"]},
    ],
    ids=lambda options: ", ".join(options) or "plain",
)
def test_a_layer_left_out_in_the_middle_of_a_run_is_in_no_part_of_the_result(options):
    chosen = {"measures": ["normalized_variance"], "layers": ["always", "late"], "batch_size": 24} | options
    result = measured(LateDrop(), stream(), **chosen)
    assert set(result.table.layer) - {"output"} == {"always"}
    assert "late" not in {key[1] for key in result.maps} | set(
        result.curves.layer if len(result.curves) else ()
    )
    assert "late" not in {row["layer"] for row in result.baseline_rows}
    assert [entry["layer"] for entry in result.provenance["skipped"]] == ["late"]
    assert UNEVEN in result.provenance["skipped"][0]["reason"]
    assert result.provenance["unused"] == []
    assert set(result.table.samples) <= {64, 32}


def test_a_resumed_run_leaves_out_what_was_left_out_before(tmp_path, monkeypatch):
    """Interrupted after the late input, which the rest of the run does not meet again."""
    monkeypatch.setattr("invariscope.engine.checkpoint.Checkpoint.due", lambda self: True)
    whole = measured(LateDrop(), stream(odd=16), layers=None, batch_size=24)

    def interrupt(done, total):
        if done >= 40:
            raise KeyboardInterrupt

    path = tmp_path / "sums"
    with pytest.raises(KeyboardInterrupt):
        measured(LateDrop(), stream(odd=16), layers=None, batch_size=24, checkpoint=path, progress=interrupt)
    resumed = measured(LateDrop(), stream(odd=16), layers=None, batch_size=24, checkpoint=path)
    assert resumed.provenance["skipped"] == whole.provenance["skipped"]
    assert resumed.provenance["skipped"][0]["layer"] == "late"
    assert resumed.table.equals(whole.table)


def test_a_layer_that_first_runs_late_is_not_listed_as_unused():
    class Late(LateDrop):
        def forward(self, x):
            if (x[:, 0].abs() > 9).any():
                self.late(x)
            return self.always(x)

    result = measured(Late(), stream(), layers=None, batch_size=24)
    assert result.provenance["unused"] == []
    (entry,) = result.provenance["skipped"]
    assert entry["layer"] == "late"
    assert entry["reason"].startswith("it first ran after the trial forward pass")


def test_a_run_whose_last_layer_is_left_out_is_refused():
    with pytest.raises(ValueError, match=r"none of the 1 selected layers .*'late': how often"):
        measured(LateDrop(), stream(), layers="late", batch_size=24)


class Narrows(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.keep, self.lin = torch.nn.Identity(), torch.nn.Linear(6, 2)

    def forward(self, x):
        self.keep(torch.ones(len(x), 4 if (x[:, 0].abs() > 9).any() else 40))
        return self.lin(x)


def test_a_layer_whose_width_changes_is_left_out_unless_it_was_named():
    torch.manual_seed(0)
    net = Narrows()
    result = measured(net, stream(), layers=["lin", "k*p"], batch_size=24)
    assert result.table.layer.tolist() == ["lin"]
    reason = "its shape changed between forward passes: units of shape (40,) at first, (4,) now"
    assert result.provenance["skipped"] == [{"layer": "keep", "call": 0, "reason": reason}]
    with pytest.raises(ValueError, match=r"layer 'keep' \(call 0\): its shape changed .*\(40,\).*\(4,\)"):
        measured(net, stream(), layers=["lin", "keep"], batch_size=24)


def test_a_layer_that_depends_on_neighbours_only_late_in_the_run_is_left_out():
    """Rows are sorted once one of few inputs is among them: a check of the first inputs shows nothing."""

    class SortsRarely(LateDrop):
        def forward(self, x):
            order = (x[:, 0].abs() < 2).long().argsort(stable=True)
            return torch.tanh(self.always(self.late(x[order])[:, [0, 1, 2, 3, 0, 1]]))[order.argsort()]

    torch.manual_seed(0)
    x = torch.randn(512, 6) / 2
    x[:, 0] = x[:, 0].clamp(-1, 1)
    x[torch.arange(5, 512, 16), 0] = 3.0
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(512)), 64)
    result = measured(SortsRarely(), data, layers=["late", "SortsRarely"], batch_size=96)
    assert result.table.layer.tolist() == ["SortsRarely"]
    assert "depends on the other inputs of the batch" in result.provenance["skipped"][0]["reason"]


# --- beside a thread that serves the model --------------------------------------------------------------


@contextmanager
def serving(net, x):
    """Another thread that asks the model for single responses all the time; they must stay right."""
    with torch.no_grad():
        right = [net(x[i : i + 3]) for i in range(0, 12, 3)]
    stop, wrong = threading.Event(), []

    def serve():
        while not stop.is_set():
            for number, expected in enumerate(right):
                try:
                    with torch.no_grad():
                        found = net(x[3 * number : 3 * number + 3])
                except Exception as error:
                    wrong.append(error)
                else:
                    wrong.extend([] if torch.allclose(found, expected) else [found])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", READ)
def test_a_dynamic_model_is_read_correctly_beside_a_thread_that_serves_it(name):
    planted = DYNAMIC_MODELS[name]
    net, x = planted.build()
    with serving(net, x) as wrong:
        result = measured(net, x, batch_size=7)
    assert_right(result, planted)
    assert not wrong


# Those with a state respond to the other thread's inputs too: what is right of them changes with its speed.
@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"another_function_after_some_inputs"}))
def test_a_model_is_refused_beside_a_thread_that_serves_it(name):
    planted = DYNAMIC_MODELS[name]
    net, x = planted.build()
    with serving(net, x), pytest.raises(ValueError, match=planted.refused):
        measured(net, x, batch_size=7)
