"""The images in a folder, with one subfolder per class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from invariscope.data.image_set import ENDINGS, ImageFiles, ImageSet


def image_folder(folder: Path) -> ImageSet:
    """Return the images in the subfolders of a folder, labelled by subfolder, or in the folder itself.

    Keys are digests of the files' bytes, so they do not depend on file names or labels.

    Raises:
        ValueError: the folder does not exist or has no images.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder of images; read any other file yourself and pass its arrays"
        )
    inside, flat = images_in(folder, "*/*"), images_in(folder, "*")
    if not inside and not flat:
        raise ValueError(
            f"{folder} holds no images ({', '.join(sorted(ENDINGS))}); put them into the folder or into one "
            f"subfolder per class{_deeper(folder)}"
        )
    labels = [path.parent.name for path in inside] if inside else None
    others = {"beside": flat, "deeper than": images_in(folder, "*/*/**/*")} if inside else {}
    left_out = " and ".join(
        f"{len(paths)} image{'s' * (len(paths) > 1)} {where} the subfolders of {folder.name}"
        for where, paths in others.items()
        if paths
    )
    remark = f"left out: {left_out}" if left_out else ""
    return ImageSet(ImageFiles(inside or flat), folder.absolute().name, labels, remark=remark)


def images_in(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Return the image files that match a pattern; hidden files and folders do not."""
    return tuple(_visible(sorted(folder.glob(pattern)), folder))


def _visible(paths: Iterable[Path], folder: Path) -> Iterable[Path]:
    for path in paths:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in ENDINGS and not hidden:
            yield path


def _deeper(folder: Path) -> str:
    """Return a hint if the images lie one level deeper, as in folders of several splits."""
    splits = sorted({path.relative_to(folder).parts[0] for path in images_in(folder, "*/*/*")})
    return f", or give {folder / splits[0]}" if splits else ""
