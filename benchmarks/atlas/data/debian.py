"""Files of Debian packages, unpacked without installing them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def unpacked(package: str) -> tuple[Path, str]:
    """Return the folder with the files of a Debian package, and "NAME VERSION".

    Raises:
        RuntimeError: this is not Debian, or the package cannot be downloaded.
    """
    folder = Path(sys.prefix) / "debian" / package
    if not list(folder.glob("*.deb")):
        _download(package, folder)
    (archive,) = folder.glob("*.deb")
    if not (folder / "files").is_dir():
        subprocess.run(["dpkg-deb", "-x", archive, folder / "files"], check=True)
    version = subprocess.run(
        ["dpkg-deb", "-f", archive, "Version"], check=True, capture_output=True, text=True
    )
    return folder / "files", f"{package} {version.stdout.strip()}"


def _download(package: str, folder: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise RuntimeError(
            f"these data are in the Debian package {package}, which needs apt-get and dpkg-deb"
        )
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", "-q", package], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cannot download the Debian package {package}: {done.stderr.strip()[-500:]}")
