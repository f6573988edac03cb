"""Numbers are those of the version that recorded them; what it saved can still be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import invariscope as iv
from invariscope.results.storage import UNSEALED

from . import reach, saved
from .capture import leaves
from .cases import Case, all_cases
from .compare import SAME_MACHINE, deviation, differences, worst
from .of_options import SAVED, quick
from .record import read, write

pytestmark = pytest.mark.usefixtures("seeded")

FOLDER = Path(__file__).parent / "expected"
CASES = all_cases()
EXPECTED = read(FOLDER)
AGAIN = "python -m tests.golden.record tests/golden/expected --only"


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_numbers_are_those_that_were_recorded(one: Case):
    assert one.name in EXPECTED, f"nothing is recorded for {one.name}: {AGAIN} '{one.name}'"
    expected, found = EXPECTED[one.name], json.loads(json.dumps(one.leaves()))
    off = {path: most for path, most in differences(expected, found).items() if most > one.tolerance}
    shown = "\n".join(
        f"{most:.1e} {path}\n  {expected.get(path)}\n  {found.get(path)}"
        for path, most in list(off.items())[:3]
    )
    assert not off, (
        f"{len(off)} of {len(expected)} entries deviate:\n{shown}\nIf that is meant: {AGAIN} '{one.name}'"
    )


def test_everything_recorded_is_still_computed():
    assert not set(EXPECTED) - {one.name for one in CASES}


def test_every_measure_transform_and_plot_of_the_registries_is_recorded():
    families = {name.partition("/")[0] for name in EXPECTED}
    wanted = {f"measure-{name}" for name in iv.list_measures()}
    wanted |= {
        f"transform-{name}" for name, one in reach.transform_classes().items() if not one.inputs.package
    }
    wanted |= {f"plot-{name}" for name in reach.plot_classes()}
    assert not wanted - families


def test_the_recording_is_small():
    files = [*FOLDER.iterdir(), *(path for path in SAVED.rglob("*") if path.is_file())]
    assert sum(path.stat().st_size for path in files) < 2_000_000


def _as_saved(found):
    """Return the leaves without the columns that results of that version do not have."""
    new = {"units_total", "drawing_error"}
    tables = (leaf if isinstance(leaf, dict) else {} for leaf in found.values())
    kept = [{name: column for name, column in table.items() if name not in new} for table in tables]
    return {name: table or leaf for (name, leaf), table in zip(found.items(), kept, strict=True)}


def test_a_saved_result_gives_the_numbers_that_are_measured_anew():
    loaded = iv.load(SAVED / "result")
    assert loaded.provenance["notes"].pop() == UNSEALED
    found, expected = (_as_saved(leaves(one)) for one in (loaded, saved.measured()))
    assert max(differences(expected, found).values()) < 1e-9


def test_a_checkpoint_of_an_earlier_version_is_resumed_or_refused_by_its_version(tmp_path):
    """Whatever the fingerprint in it, which covers the package's own code: later versions change that."""
    path = Path(shutil.copy(SAVED / saved.CHECKPOINT, tmp_path))
    try:
        with reach.checkpoint_of_this_code(path):
            resumed = quick(checkpoint=path, **saved.RUN)
    except ValueError as error:
        assert saved.VERSION in str(error)  # noqa: PT017
        return
    assert not path.exists()
    assert max(differences(leaves(quick(**saved.RUN)), leaves(resumed)).values()) < 1e-9


# That the comparison can fail


VALUES = [0.1, -2.5, 3.0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (VALUES, [0.1, -2.5, 3.0 + 1e-11]),
        (VALUES, [0.1, 3.0, -2.5]),
        (VALUES, VALUES[:2]),
        (VALUES, [0.1, "nan", 3.0]),
        (["inf", 1.0], ["-inf", 1.0]),
        (["conv"], ["fc"]),
        ({"value": VALUES, "floor": "nan"}, {"value": VALUES, "floor": 0.2}),
        ({"value": VALUES, "floor": "nan"}, {"value": VALUES}),
        ({"names": ["a", "b"]}, {"names": ["a", "c"]}),
    ],
)
def test_a_change_is_seen(before, after):
    assert deviation(before, before) == 0
    assert deviation(before, after) > SAME_MACHINE


@pytest.mark.parametrize("change", ["value", "places", "nan", "shape"])
def test_a_change_in_a_large_map_is_seen(change):
    from .inputs import array

    before, after = array(5, 4, 6), array(5, 4, 6)
    if change == "value":
        after[2, 1, 3] += 1e-9
    elif change == "places":
        after[0, 0, :2] = after[0, 0, 1::-1]
    elif change == "nan":
        after[4, 3, 5] = float("nan")
    else:
        after = after.reshape(4, 5, 6)
    (one,), (other,) = leaves(before).values(), leaves(after).values()
    assert deviation(one, other) > SAME_MACHINE


def test_two_recordings_are_compared_case_by_case(tmp_path):
    numbers = {"a/one": {"/x": [1.0, 2.0]}, "a/two": {"/x": [3.0]}, "b/three": {"/x": ["inf"]}}
    write(numbers, tmp_path)
    assert read(tmp_path) == numbers
    write({"a/one": {"/x": [1.0, 2.5]}}, tmp_path)
    found = worst(numbers, read(tmp_path))
    assert found["a/one"] == (0.25, "/x")
    assert found["a/two"] == found["b/three"] == (0.0, "")
    assert worst(numbers, {})["a/one"][1] == "only before"
