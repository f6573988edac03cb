"""The archive: the same bytes again, limits, damage, and pages written from it without data."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope.cli.app import app
from invariscope.lab import recipes
from invariscope.lab.recipes.archive import Archive, lacks_weights
from invariscope.lab.recipes.figures import draw_all

TRAINED, RANDOM = "train/simple_conv", "random/0"


def store_of(out: Path, recipe: Path, archive: Archive | None = None) -> recipes.Store:
    return recipes.Store(out, recipes.load(str(recipe)), archive=archive)


def filled(archive: Archive, store: recipes.Store) -> Archive:
    for cell in store.plan.cells:
        archive.add(store, cell)
    return archive


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def to_run(store: recipes.Store) -> list[str]:
    return [cell.name for cell in recipes.unfinished(store, store.plan.cells, lambda text: None)]


def test_what_comes_out_is_bit_for_bit_what_went_in(finished, recipe, tmp_path):
    store = store_of(finished, recipe())
    archive = filled(Archive(tmp_path / "archive"), store)
    for cell in store.plan.cells:
        assert archive.get(store.key(cell), tmp_path / cell.name)
        before, after = content(store.folder(cell)), content(tmp_path / cell.name)
        assert json.loads(before.pop("cell.json")) == json.loads(after.pop("cell.json"))
        assert before == after
    assert not archive.get("0" * 12, tmp_path / "none")


def test_the_same_cell_makes_the_same_file(finished, recipe, tmp_path):
    store = store_of(finished, recipe())
    first, second = (Archive(tmp_path / name).add(store, store.plan[TRAINED]) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as file:
        assert file.namelist() == sorted(file.namelist())
        assert {entry.date_time[0] for entry in file.infolist()} == {1980}
    assert not list(tmp_path.rglob("*.part"))


def test_finished_cells_are_taken_from_the_archive(finished, recipe, tmp_path):
    archive = filled(Archive(tmp_path / "archive"), store_of(finished, recipe()))
    store = store_of(tmp_path / "out", recipe(), archive)
    assert store.archived(store.plan[RANDOM])
    assert to_run(store) == []
    assert store.folder(store.plan[RANDOM]).exists()
    assert not store.archived(store.plan[RANDOM])
    value = recipes.Outcomes(store).result("nv/simple_conv").overall()
    assert value == recipes.Outcomes(store_of(finished, recipe())).result("nv/simple_conv").overall()


@pytest.mark.parametrize("limit", ["weights_bytes", "file_bytes"])
def test_weights_that_do_not_fit_are_left_out_and_named(finished, recipe, tmp_path, limit):
    store = store_of(finished, recipe())
    archive = Archive(tmp_path / "archive", **{limit: 20_000})
    archive.add(store, store.plan[TRAINED])
    manifest = archive.manifest(store.key(store.plan[TRAINED]))
    assert manifest is not None
    assert lacks_weights(manifest)
    weights = store.folder(store.plan[TRAINED]) / "network" / "weights.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert manifest["left_out"]["network/weights.safetensors"] == digest
    assert "network/card.json" in manifest["files"]


def test_a_network_without_weights_is_trained_again_only_if_it_is_needed(finished, recipe, tmp_path):
    archive = filled(Archive(tmp_path / "archive", weights_bytes=0), store_of(finished, recipe()))
    whole = store_of(tmp_path / "whole", recipe(), archive)
    assert to_run(whole) == []
    assert recipes.Outcomes(whole).training(whole.plan[TRAINED])["epochs"] == 1
    ran = recipes.run_cell(whole, whole.plan[TRAINED], threads=1, log=lambda text: None)
    assert not ran
    archive.place(whole.key(whole.plan["accuracy"])).unlink()
    store = store_of(tmp_path / "out", recipe(), archive)
    assert to_run(store) == [TRAINED, "accuracy"]
    said: list[str] = []
    with pytest.raises(ValueError, match="needs train/simple_conv, whose weights are not archived"):
        recipes.run_cell(store, store.plan["accuracy"], threads=1, log=said.append)
    assert recipes.run_cell(store, store.plan[TRAINED], threads=1, log=said.append)
    assert to_run(store) == ["accuracy"]
    assert recipes.run_cell(store, store.plan["accuracy"], threads=1, log=said.append)
    assert to_run(store) == []


def test_the_largest_dispensable_weights_make_room_for_others(finished, recipe, tmp_path):
    store = store_of(finished, recipe())
    networks = [cell for cell in store.plan.cells if cell.options.gives == "network"]
    folders = {cell.name: store.folder(cell) for cell in networks}
    size = {n: sum(p.stat().st_size for p in at.rglob("weights.safetensors")) for n, at in folders.items()}
    first, *others = sorted(networks, key=lambda cell: -size[cell.name])
    assert others, "the recipe must train two networks"
    archive = filled(Archive(tmp_path / "archive"), store)
    kept = {cell.name: archive.place(store.key(cell)).read_bytes() for cell in others}
    tight = Archive(tmp_path / "archive", weights_bytes=sum(size[cell.name] for cell in others))
    assert tight.make_room(()) == []
    assert tight.make_room({store.key(cell) for cell in networks}) == [store.key(first)]
    manifest = tight.manifest(store.key(first))
    assert manifest is not None
    assert lacks_weights(manifest)
    assert all(archive.place(store.key(c)).read_bytes() == kept[c.name] for c in others)
    assert tight.make_room({store.key(cell) for cell in networks}) == []


def test_maps_are_left_out_last_and_the_result_can_still_be_read(finished, recipe, tmp_path):
    store = store_of(finished, recipe())
    archive = Archive(tmp_path / "archive", maps_bytes=1000)
    archive.add(store, store.plan["nv/all_conv"])
    taken = store_of(tmp_path / "out", recipe(), archive)
    read = recipes.Outcomes(taken).result("nv/all_conv")
    assert not read.arrays
    assert read.rows == recipes.Outcomes(store).result("nv/all_conv").rows


def test_a_figure_whose_maps_were_left_out_says_so(finished, recipe, tmp_path):
    path = recipe(('plot = "layer_profile"', 'plot = "unit_heatmap"'))
    archive = filled(Archive(tmp_path / "archive", maps_bytes=0), store_of(finished, path))
    taken = store_of(tmp_path / "out", path, archive)
    figures = list(draw_all(recipes.Outcomes(taken), tmp_path / "page.md"))
    reasons = [figure.reason for figure in figures if figure.title == "Layers of all_conv"]
    assert [reason.partition("; ")[2] for reason in reasons] == ["maps left out of the archive: nv/all_conv"]


def test_a_result_that_does_not_fit_without_maps_is_refused(finished, recipe, tmp_path):
    store = store_of(finished, recipe())
    for limit in ({"file_bytes": 5000}, {"total_bytes": 5000}):
        archive = Archive(tmp_path / "archive", **limit)
        with pytest.raises(
            ValueError, match=r"nv/all_conv does not fit into the archive: 0\.\d\d MB without"
        ):
            archive.add(store, store.plan["nv/all_conv"])
        assert archive.used() == 0


@pytest.mark.parametrize("damage", ["truncate", "flip", "other", "text"])
def test_a_damaged_file_is_reported_and_counts_as_absent(finished, recipe, tmp_path, damage):
    store, said = store_of(finished, recipe()), []
    archive = Archive(tmp_path / "archive", report=said.append)
    place = archive.add(store, store.plan[RANDOM])
    whole = place.read_bytes()
    if damage == "truncate":
        place.write_bytes(whole[:-30])
    elif damage == "flip":
        middle = len(whole) // 2
        place.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "other":
        shutil.copyfile(archive.add(store, store.plan["accuracy"]), place)
    else:
        place.write_text("no zip")
    taken = store_of(tmp_path / "out", recipe(), archive)
    assert RANDOM in to_run(taken)
    assert taken.manifest(taken.plan[RANDOM]) is None
    assert [text.partition(" is damaged and not used: ")[0] for text in said] == [str(place)]
    archive.add(store, store.plan[RANDOM])
    assert place.read_bytes() == whole


def test_a_file_that_points_outside_its_cell_is_refused(finished, recipe, tmp_path):
    store, said = store_of(finished, recipe()), []
    archive = Archive(tmp_path / "archive", report=said.append)
    key = store.key(store.plan[RANDOM])
    digest = hashlib.sha256(b"x").hexdigest()
    archive.place(key).parent.mkdir(parents=True)
    with zipfile.ZipFile(archive.place(key), "w") as file:
        file.writestr("cell.json", json.dumps({"key": key, "files": {"../evil": digest}}))
        file.writestr("../evil", "x")
    assert not archive.get(key, tmp_path / "there" / "cell")
    assert "../evil is outside the cell" in said[0]
    assert not list(tmp_path.rglob("evil"))


def test_a_page_is_written_without_data_if_the_archive_has_every_cell(recipe, tmp_path, monkeypatch):
    """The data are there while cells are run, and gone when the page is written."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "images").write_bytes(b"1234")
    (data / "NOTE.txt").write_text("a copy")
    monkeypatch.setattr("invariscope.zoo.datasets.files", lambda *_, **__: [data / "images"])
    monkeypatch.setattr("invariscope.zoo.datasets.present", lambda *_, **__: data.exists())
    path = recipe()
    store = store_of(tmp_path / "run", path)
    for cell in store.plan.cells:
        recipes.run_cell(store, cell, threads=1, log=lambda text: None)
    archive = filled(Archive(tmp_path / "reproductions"), store)
    shutil.rmtree(data)
    monkeypatch.setattr("invariscope.zoo.datasets.files", missing)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["reproduce", str(path), "--out", "out"])
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "out" / "tiny.md").read_text()
    count = len(store.plan.cells)
    assert f"{count} of {count} cells are finished" in page
    assert "- Data: mnist_subset: a copy" in page
    archive.place(store.key(store.plan[RANDOM])).unlink()
    done = CliRunner().invoke(app, ["reproduce", str(path), "--out", "other"])
    assert done.exit_code == 2
    assert "these cells read mnist_subset (train, test): no files" in done.stderr
    done = CliRunner().invoke(app, ["reproduce", str(path), "--out", "other", "--page-only"])
    assert done.exit_code == 0, done.stderr
    assert f"{count - 1} of {count} cells are finished" in (tmp_path / "other" / "tiny.md").read_text()


def test_a_note_on_the_data_is_added_later_and_never_lost(finished, recipe, tmp_path, monkeypatch):
    notes: list[str] = []
    monkeypatch.setattr("invariscope.lab.recipes.digests.note_unless_original", lambda *_: notes[-1])
    archive = Archive(tmp_path / "archive")
    cells = (RANDOM, "accuracy", "nv/simple_conv", "nv/all_conv")
    for note, cell in zip(("", "a copy", "", "another note"), cells, strict=True):
        notes.append(note)
        store = store_of(finished, recipe(), archive)
        archive.add(store, store.plan[cell])
        assert archive.data()["mnist_subset/test"]["note"] == ("a copy" if "a copy" in notes else "")


def missing(*_: object, **__: object) -> list[Path]:
    raise FileNotFoundError("no files")


def test_cells_of_other_data_are_refused(finished, recipe, tmp_path):
    store = store_of(finished, recipe())
    archive = Archive(tmp_path / "archive")
    archive.add(store, store.plan[RANDOM])
    known = archive.data()
    known["mnist_subset/test"]["digests"] = ["0" * 64]
    (archive.root / "data.json").write_text(json.dumps(known))
    with pytest.raises(ValueError, match="run on another variant of mnist_subset/test"):
        archive.add(store, store.plan["accuracy"])


def test_an_archive_that_is_not_a_folder_is_refused(recipe, tmp_path):
    done = CliRunner().invoke(app, ["reproduce", str(recipe()), "--archive", str(tmp_path / "no")])
    assert done.exit_code == 2
    assert "the folder does not exist" in done.stderr


def test_packed_and_unpacked_data_have_one_digest(tmp_path, monkeypatch):
    import gzip

    from invariscope.lab.recipes.digests import Digests

    packed, plain = tmp_path / "images.gz", tmp_path / "images"
    packed.write_bytes(gzip.compress(b"1234"))
    plain.write_bytes(b"1234")
    found = []
    for path in (packed, plain):
        monkeypatch.setattr("invariscope.zoo.datasets.files", lambda *_, path=path, **__: [path])
        found.append(Digests(tmp_path / "memory.json", None).entry("mnist", "test")["digests"])
    assert found[0] == found[1] == [hashlib.sha256(b"1234").hexdigest()]
