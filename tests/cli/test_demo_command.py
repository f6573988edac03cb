"""`invariscope demo`, in a much smaller size, and the sentence that it ends with."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import invariscope as iv
from invariscope.demo import DemoSettings, run

TINY = DemoSettings(filters=2, plain_epochs=1, rotated_epochs=1, training_digits=64, digits=64)
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in vars(TINY).items()]
PARTS = {"demo.json", "networks", "results", "report.html"}


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return run(tmp_path_factory.mktemp("demo") / "made", settings=TINY)


def test_the_demo_leaves_networks_results_and_a_report(shown):
    assert contents(shown.folder) == PARTS
    assert contents(shown.folder.parent) == {"made"}
    assert iv.load(shown.folder / "results" / "plain").name == "plain"
    assert shown.report.stat().st_size < 4e6


def test_both_networks_are_measured_on_the_same_digits_with_classes_and_predictions(shown):
    for result in (shown.plain, shown.rotated):
        assert {"normalized_variance", "prediction.accuracy"} <= set(result.table["measure"])
        assert {"all", "mean", "3"} <= set(result.table["stratum"])
        assert result.examples["orbit"].shape == (16, 1, 28, 28)
        assert len(result.examples) > 1
    assert shown.plain.provenance["data"] == shown.rotated.provenance["data"]
    assert list(shown.differences["a"].unique()) == ["plain"]
    assert shown.differences["ci_low"].notna().any()


def test_only_one_of_the_networks_saw_rotated_digits(shown):
    cards = [
        json.loads((shown.folder / "networks" / name / "card.json").read_text())
        for name in ("plain", "rotated")
    ]
    families = [card["training"]["augmentation"] for card in cards]
    assert families[0] is None
    assert families[1]["family"] == "rotation"


def text_between(page, start, end):
    """Text of a part of a page, without its tags."""
    return html.unescape(re.sub("<[^>]+>", "", page.split(start)[1].split(end)[0]))


def test_the_command_ends_with_a_table_a_sentence_and_the_path(invoke, shown):
    done = invoke("demo", "--out", shown.folder, *OPTIONS)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "its networks are reused" in done.stderr
    assert any(line.split()[:4] == ["layer", "plain", "rotated", "difference"] for line in lines)
    assert any(line.startswith("log_softmax") for line in lines)
    assert shown.sentence.replace("\u00a0", " ") in " ".join(done.stdout.split())
    page = shown.report.read_text(encoding="utf-8")
    compared, _, _ = shown.sentence.partition(" Over all rotations")
    assert compared in html.unescape(
        re.sub("<[^>]+>", "", page.split('id="findings"')[1].split("</section>")[0])
    )
    lead = html.unescape(re.sub("<[^>]+>", "", page.split('<p class="lead">')[1].split("</p>")[0]))
    assert re.match("On average over 15 rotations, .* of images change class for plain .* for rotated", lead)
    assert lines[-1] == str(shown.report)
    assert contents(shown.folder) == PARTS


def test_damaged_networks_are_trained_anew_and_give_the_same_numbers(shown, tmp_path):
    folder = tmp_path / "made"
    shutil.copytree(shown.folder, folder)
    (folder / ".unfinished-1-0" / "networks").mkdir(parents=True)  # what a killed run leaves
    (folder / "notes.txt").write_text("precious")
    (folder / "networks" / "plain" / "weights.safetensors").write_bytes(b"damaged")
    said: list[str] = []
    again = run(folder, settings=TINY, log=said.append)
    assert (shown.reused, again.reused) == (False, False)
    assert "everything is replaced" in said[0]
    assert contents(folder) == PARTS | {"notes.txt"}
    pd.testing.assert_frame_equal(shown.differences, again.differences)


@pytest.mark.parametrize(("name", "content"), [("chapter.txt", "precious"), ("demo.json", '{"precious": 1}')])
def test_a_foreign_folder_is_refused(name, content, fails):
    Path("thesis").mkdir()
    (Path("thesis") / name).write_text(content)
    assert "not from a demonstration" in fails("demo", "--out", "thesis", *OPTIONS)
    assert contents(Path("thesis")) == {name}
    assert (Path("thesis") / name).read_text() == content


def test_an_interrupted_demo_leaves_nothing(invoke, workplace, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("invariscope.demo.measure", interrupt)
    before = contents(workplace)
    done = invoke("demo", *OPTIONS)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (130, "interrupted: nothing was written.")
    assert contents(workplace) == before
