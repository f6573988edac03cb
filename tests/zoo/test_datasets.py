"""Data sets are found where the user says, come whole and in [0, 1], and are never half-written."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_files import cifar_arrays, cifar_pickle, cifar_record_bytes, write_idx_pair

from invariscope.zoo import DATASETS, ImageData, load
from invariscope.zoo.datasets import VARIABLE
from invariscope.zoo.download import DownloadFailed, Remote, fetch


@pytest.fixture(autouse=True)
def _no_home(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("split", "per_class"), [("train", 800), ("test", 200)])
def test_the_bundled_digits_are_balanced_and_in_the_unit_interval(split, per_class):
    data = load("mnist_subset", split=split)
    assert data.images.shape == (10 * per_class, 1, 28, 28)
    assert data.images.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert (data.images.min(), data.images.max()) == (0, 1)
    assert data.labels.bincount().tolist() == [per_class] * 10


def test_the_bundled_digits_fit_into_two_megabytes_and_name_their_licence():
    folder = Path(__file__).parents[2] / "src/invariscope/zoo/data/mnist_subset"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
    assert "Attribution-ShareAlike 3.0" in " ".join((folder / "LICENSE.md").read_text().split())


def test_training_and_test_digits_are_different_images():
    train, test = load("mnist_subset", split="train"), load("mnist_subset")
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "raw"])
@pytest.mark.parametrize("below", ["", "own"])
def test_idx_files_are_found_in_the_folder_or_below(tmp_path, name, compressed, below):
    folder = tmp_path / (DATASETS[name].layouts[0].folders[0] if below else "")
    images, labels = write_idx_pair(folder, "t10k", 30, compressed=compressed)
    data = load(name, data_dir=tmp_path)
    assert (data.images.shape, data.split, data.name) == ((30, 1, 28, 28), "test", name)
    np.testing.assert_array_equal((data.images[:, 0] * 255).round().byte().numpy(), images)
    np.testing.assert_array_equal(data.labels.numpy(), labels)


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    write_idx_pair(tmp_path / "mnist", "train", 20)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert len(load("mnist", split="train")) == 20


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_cifar_batches_are_joined_in_order(tmp_path, layout):
    folder = tmp_path / ("cifar-10-batches-bin" if layout == "binary" else "cifar-10-batches-py")
    folder.mkdir()
    batches = [cifar_arrays(4) for _ in range(5)]
    for number, (pixels, labels) in enumerate(batches, start=1):
        if layout == "binary":
            (folder / f"data_batch_{number}.bin").write_bytes(cifar_record_bytes(pixels, labels))
        else:
            (folder / f"data_batch_{number}").write_bytes(cifar_pickle(pixels, labels))
    data = load("cifar10", split="train", data_dir=tmp_path)
    wanted = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal((data.images * 255).round().byte().numpy(), wanted)
    assert data.classes[3] == "cat"


def test_a_seeded_subset_is_repeatable_and_without_repeats():
    whole, first = load("mnist_subset"), load("mnist_subset", samples=50, seed=3)
    assert torch.equal(first.images, load("mnist_subset", samples=50, seed=3).images)
    assert not torch.equal(first.images, load("mnist_subset", samples=50, seed=4).images)
    all_of_it = load("mnist_subset", samples=2000)
    assert torch.equal(all_of_it.images, whole.images)


@pytest.mark.parametrize("samples", [0, 2001])
def test_a_subset_of_impossible_size_is_refused(samples):
    with pytest.raises(ValueError, match=rf"2,000 test samples; got samples={samples}"):
        load("mnist_subset", samples=samples)


def test_unknown_names_are_answered_with_the_closest():
    with pytest.raises(ValueError, match=r"unknown data set 'minst'. Closest: .*'mnist'"):
        load("minst")
    with pytest.raises(ValueError, match=r"unknown split 'tset'. Closest: 'test'"):
        load("mnist_subset", split="tset")


def test_missing_files_are_named_with_where_and_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load("fashion_mnist", data_dir=tmp_path / "nowhere")
    text = str(caught.value)
    for part in ("t10k-images-idx3-ubyte", "no such folder", "https://", "--data-dir", VARIABLE, "Debian"):
        assert part in text
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_batch_is_not_a_smaller_data_set(tmp_path):
    for number in (1, 2, 4, 5):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(cifar_record_bytes(*cifar_arrays(2)))
    with pytest.raises(FileNotFoundError, match=r"data_batch_3\.bin"):
        load("cifar10", split="train", data_dir=tmp_path)


def test_images_and_labels_of_different_files_are_refused(tmp_path):
    write_idx_pair(tmp_path, "t10k", 20)
    write_idx_pair(tmp_path / "other", "t10k", 30)
    (tmp_path / "other" / "t10k-labels-idx1-ubyte.gz").rename(tmp_path / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(ValueError, match=r"are not the images and labels of.*20 images, 30 labels"):
        load("mnist", data_dir=tmp_path)


def test_one_data_set_is_not_taken_for_another_of_the_same_file_names(tmp_path, monkeypatch):
    _, labels = write_idx_pair(tmp_path, "t10k", 20)
    known = {hashlib.sha256(labels.tobytes()).hexdigest(): "mnist"}
    monkeypatch.setattr("invariscope.zoo.datasets._KNOWN_LABELS", known)
    assert len(load("mnist", data_dir=tmp_path)) == 20
    with pytest.raises(ValueError, match=r"contains mnist, not fashion_mnist"):
        load("fashion_mnist", data_dir=tmp_path)


def published(monkeypatch, name: str, folder: Path, *, archive: bool = False) -> None:
    """Makes the files of a local folder the published ones."""
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    remote = Remote((f"{folder.parent.as_uri()}/gone", folder.as_uri()), sums, archive)
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], remote=remote))


def test_missing_files_are_downloaded_from_the_first_mirror_that_has_them(tmp_path, monkeypatch):
    write_idx_pair(tmp_path / "web", "t10k", 10)
    write_idx_pair(tmp_path / "web", "train", 10)
    published(monkeypatch, "mnist", tmp_path / "web")
    assert len(load("mnist")) == 10
    home = tmp_path / "cache" / "invariscope"
    assert sorted(path.name for path in home.rglob("*")) == [
        "mnist",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]


def test_a_downloaded_archive_leaves_its_members_and_nothing_outside(tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    content = cifar_record_bytes(*cifar_arrays(4))
    with tarfile.open(tmp_path / "web" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name in ("cifar-10-batches-bin/test_batch.bin", "../../escaped.bin"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    published(monkeypatch, "cifar10", tmp_path / "web", archive=True)
    assert len(load("cifar10")) == 4
    found = [p.parent.name for p in tmp_path.rglob("*.bin")]
    assert found == ["cifar10", "cifar10"]


def test_a_wrong_checksum_leaves_nothing_behind_and_says_so(tmp_path, monkeypatch):
    write_idx_pair(tmp_path / "web", "t10k", 10)
    published(monkeypatch, "mnist", tmp_path / "web")
    for path in (tmp_path / "web").iterdir():
        path.write_bytes(path.read_bytes() + b"changed on the way")
    with pytest.raises(FileNotFoundError, match=r"Downloading failed: .*gone.*; .*checksum .* instead of"):
        load("mnist")
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_nothing_is_downloaded_into_a_folder_that_was_given(tmp_path, monkeypatch):
    write_idx_pair(tmp_path / "web", "t10k", 10)
    published(monkeypatch, "mnist", tmp_path / "web")
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileNotFoundError):
        load("mnist", data_dir=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(url, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("invariscope.zoo.download._save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(Remote(("https://example.org",), {"a": ""}), "a", tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_a_download_without_network_gives_the_reason_of_each_mirror(tmp_path):
    remote = Remote((tmp_path.as_uri(), f"{tmp_path.as_uri()}/b"), {"file.gz": "0"})
    with pytest.raises(DownloadFailed, match=r"file\.gz: .*No such file.*; .*b/file\.gz"):
        fetch(remote, "file.gz", tmp_path / "here")


def test_standardised_images_have_mean_zero_and_deviation_one_per_channel():
    x = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 2, 3]).view(
        3, 1, 1
    )
    data = ImageData("noise", "train", x, torch.zeros(50, dtype=torch.int64), ("a",)).standardized()
    assert data.images.mean((0, 2, 3)).abs().max() < 1e-6
    torch.testing.assert_close(data.images.std((0, 2, 3), correction=0), torch.ones(3))
    torch.testing.assert_close(
        data.images * torch.tensor(data.std).view(3, 1, 1) + torch.tensor(data.mean).view(3, 1, 1), x
    )


def test_a_second_or_impossible_standardisation_is_refused():
    data = load("mnist_subset", samples=20)
    with pytest.raises(ValueError, match="already standardised"):
        data.standardized().standardized()
    with pytest.raises(ValueError, match=r"1 channel\(s\)"):
        data.standardized([0.1, 0.2], [1, 1])
    with pytest.raises(ValueError, match="positive std"):
        data.standardized([0.1], [0])


def test_the_description_of_a_data_set_is_plain():
    assert load("mnist_subset", samples=20).describe() == {
        "name": "mnist_subset",
        "split": "test",
        "samples": 20,
        "shape": [1, 28, 28],
        "classes": list("0123456789"),
        "mean": [],
        "std": [],
    }


def test_a_data_set_prints_in_a_line():
    torch.manual_seed(0)
    data = load("mnist_subset")
    assert repr(data) == "<ImageData mnist_subset, test: 2,000 of 1 × 28 × 28 in 10 classes>"
    assert repr(data.standardized()).endswith("in 10 classes, standardised>")
    assert repr(ImageData("x", "train", torch.rand(3, 2, 5, 4), torch.zeros(3), ())) == (
        "<ImageData x, train: 3 of 2 × 5 × 4>"
    )
