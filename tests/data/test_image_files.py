"""Images in files of every mode, size and orientation, as images and as tensors."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import classifier, photo, photo_folder, tensor_of
from PIL import Image

import invariscope as iv
from invariscope.common.pixels import pixels_of
from invariscope.data.decoding import Size, decoded


def measured(data, **options):
    return iv.measure(classifier(), data, iv.QuarterTurns(), progress=False, **options)


def values(result) -> list[float]:
    return result.table["value"].tolist()


def opened(path: Path) -> Image.Image:
    return decoded(path.read_bytes(), path.name)


@pytest.mark.parametrize(
    ("mode", "ending", "read"),
    [
        ("RGB", "png", "RGB"), ("RGBA", "png", "RGB"), ("P", "png", "RGB"), ("CMYK", "jpg", "RGB"),
        ("L", "png", "L"), ("LA", "png", "L"), ("1", "png", "L"),
    ],
)  # fmt: skip
def test_images_of_every_mode_become_rgb_or_grey(mode, ending, read, tmp_path):
    photo(12, 10).convert(mode).save(tmp_path / f"x.{ending}")
    found = opened(tmp_path / f"x.{ending}")
    assert (found.mode, found.size) == (read, (10, 12))
    assert np.asarray(found).std() > 10


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    image = photo(8, 8).convert("P")
    image.save(tmp_path / "x.png", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened(tmp_path / "x.png").mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_read_as_they_are_displayed(orientation, tmp_path):
    upright = photo(8, 6)
    turned = {
        1: [], 2: ["FLIP_LEFT_RIGHT"], 3: ["ROTATE_180"], 4: ["FLIP_TOP_BOTTOM"], 5: ["TRANSPOSE"],
        6: ["ROTATE_90"], 7: ["TRANSVERSE"], 8: ["ROTATE_270"],
    }  # fmt: skip
    stored, exif = upright, Image.Exif()
    for operation in turned[orientation]:
        stored = stored.transpose(Image.Transpose[operation])
    exif[0x0112] = orientation
    (tmp_path / "photos").mkdir()
    stored.save(tmp_path / "photos" / "x.png", exif=exif)
    found = iv.read_data(tmp_path / "photos")
    assert np.array_equal(np.asarray(found[0]), np.asarray(upright))
    assert found.sizes == [(8, 6)]


def test_images_of_16_bits_are_scaled_and_not_clipped(tmp_path):
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "x.png")
    images = iv.read_data(tmp_path)
    assert torch.allclose(images.as_tensors()[0], torch.from_numpy(deep / 65535).float()[None], atol=1e-6)
    assert np.array_equal(np.asarray(images[0]), (deep / 257).round())


@pytest.mark.parametrize(("values", "said"), [((0.0, 1.0), ""), ((-1.0, 1.0), "range from -1 to 1")])
def test_floating_point_images_need_values_from_0_to_1(values, said, tmp_path):
    Image.fromarray(np.linspace(*values, 16, dtype=np.float32).reshape(4, 4)).save(tmp_path / "x.tif")
    images = iv.read_data(tmp_path).as_tensors()
    if said:
        with pytest.raises(ValueError, match=rf"x\.tif cannot be read as an image.*{said}"):
            images[0]
    else:
        assert torch.allclose(images[0].flatten(), torch.linspace(0, 1, 16), atol=1e-6)


def test_colour_among_grey_images_makes_all_of_them_colour(tmp_path):
    photo(8, 8).save(tmp_path / "a.png")
    photo(8, 8, seed=1).convert("L").save(tmp_path / "b.png")
    images = iv.read_data(tmp_path).as_tensors()
    assert [tuple(images[k].shape) for k in range(2)] == [(3, 8, 8)] * 2
    assert images.shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("size", "rows", "columns"), [(12, 12, 12), ("12x20", 12, 20), ((12, 20), 12, 20), ("square", 30, 30)]
)
def test_images_are_resized_to_cover_the_size_and_their_centre_is_kept(size, rows, columns):
    image = Image.fromarray(np.tile(np.arange(40, dtype=np.uint8)[None], (30, 1)))  # 30 rows, 40 columns
    found = np.asarray(Size.of(size).fitted(image)).astype(float)
    assert found.shape == (rows, columns)
    assert found.mean() == pytest.approx(19.5, abs=0.5)  # rounded to bytes


def test_an_image_that_has_the_size_is_not_interpolated():
    image = photo(15, 12)
    kept = np.asarray(Size.of(12).fitted(image))
    assert np.array_equal(kept, np.asarray(image)[1:13])


@pytest.mark.parametrize("size", ["large", "0", "1x2x3", -3, 2.5, ""])
def test_a_size_that_is_none_says_what_to_write(size):
    with pytest.raises(ValueError, match=r"size must be a number of pixels \(224\)"):
        Size.of(size)


def test_images_of_one_size_are_measured_as_tensors_without_preprocessing(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    files = sorted(folder.glob("*/*"))
    expected = measured(torch.stack([tensor_of(Image.open(file)) for file in files]))
    found = measured(folder)
    assert found.provenance["data"]["keys"] == "content"
    assert values(found) == pytest.approx(values(expected), rel=1e-6)
    assert values(measured([Image.open(file) for file in files])) == pytest.approx(values(expected), rel=0.01)


def test_functions_of_single_tensors_take_folders_too(tmp_path):
    found = iv.lie_derivative(classifier(), photo_folder(tmp_path / "photos"))
    assert found.provenance["data"]["name"] == "photos"
    smooth = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))
    assert iv.assert_equivariant(smooth, tmp_path / "photos", iv.QuarterTurns())


def test_images_of_several_sizes_say_how_to_resize_them(tmp_path):
    folder = photo_folder(tmp_path / "photos", sides=(16, 20, 24))
    with pytest.raises(ValueError, match=r"sizes \(16 × 16, 24 × 24 and 1 more\).*--size 224.*preprocess"):
        measured(folder)
    found = measured(iv.read_data(folder, size=18))
    assert "8 of 24 images" not in found.provenance["notes"]
    assert "9 of 24 images were enlarged to the size asked for" in found.provenance["notes"]


def test_preprocess_gets_images_of_their_own_sizes(tmp_path):
    met = set()

    def resized(images):
        met.update(image.size for image in images)
        return torch.stack([pixels_of(image.resize((16, 16))) for image in images])

    measured(photo_folder(tmp_path / "photos", sides=(16, 20)), preprocess=resized)
    assert met == {(16, 16), (20, 20)}


def test_names_of_files_and_classes_change_no_number(tmp_path):
    first = photo_folder(tmp_path / "first")
    other = tmp_path / "other"
    for place, file in enumerate(sorted(first.glob("*/*"), reverse=True)):
        renamed = other / f"{'zyx'['cde'.index(file.parent.name[0])]}" / f"{place}.png"
        renamed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, renamed)
    options = {"by_class": True, "measures": "nv"}
    one, two = (measured(folder, **options) for folder in (first, other))
    assert sorted(values(one)) == pytest.approx(sorted(values(two)), rel=1e-9)
    assert {row["stratum"] for row in two.rows} == {"all", "mean", "x", "y", "z"}


def test_words_as_labels_are_compared_with_outputs_by_their_names(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    (note,) = [n for n in measured(folder, measures="prediction").provenance["notes"] if "accuracy" in n]
    assert "words ('cat', 'dog', 'emu')" in note
    assert "--classes sorted" in note
    numbers = torch.tensor(["cde".index(file.parent.name[0]) for file in sorted(folder.glob("*/*"))])
    inputs = torch.stack([tensor_of(Image.open(file)) for file in sorted(folder.glob("*/*"))])
    for order in (("cat", "dog", "emu"), ("emu", "cat", "dog")):
        places = torch.tensor([order.index(name) for name in ("cat", "dog", "emu")])
        expected = measured((inputs, places[numbers]), measures="prediction")
        assert values(measured(folder, measures="prediction", classes=order)) == pytest.approx(
            values(expected)
        )


def test_files_that_are_no_samples_are_left_out_and_noted(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    photo(8, 8).save(folder / "cover.png")
    (folder / "cat" / "._0.png").write_bytes(b"of a file system")
    (folder / "notes.txt").write_text("x")
    images = iv.read_data(folder)
    assert (len(images), images.note) == (24, "left out: 1 image beside the subfolders of photos")


def test_images_below_a_class_folder_are_left_out_and_noted(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    (folder / "cat" / "more").mkdir()
    photo(8, 8).save(folder / "cat" / "more" / "a.png")
    images = iv.read_data(folder)
    assert (len(images), images.note) == (24, "left out: 1 image deeper than the subfolders of photos")


def test_images_one_level_too_deep_are_found_for_the_message(tmp_path):
    photo_folder(tmp_path / "photos" / "train")
    with pytest.raises(ValueError, match=r"holds no images.*or give .*photos/train"):
        iv.read_data(tmp_path / "photos")


def test_a_damaged_image_is_named(tmp_path):
    folder = photo_folder(tmp_path / "photos")
    (folder / "cat" / "9.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"9\.png cannot be read as an image"):
        measured(folder)


def test_transparency_is_noted(tmp_path):
    for place in range(3):
        photo(8, 8, seed=place).convert("RGBA").save(tmp_path / f"{place}.png")
    assert iv.read_data(tmp_path).note == "3 images have transparency, which was ignored"
