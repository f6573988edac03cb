"""Record how a process was started: its command line, the commit of the user's code, and threads.

The record does not identify a person or a machine: paths are relative, start with `~`, or are shortened to
their last part, and values that look like secrets are removed.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

LEFT_OUT = "[left out]"
_GIT_SECONDS = 3.0
_SECRET_NAME = re.compile(r"(token|secret|passw|credential|api.?key|private.?key|auth|cookie)", re.I)
_SECRET = re.compile(
    r"(hf_|sk-|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|AKIA|ASIA|AIza|eyJ)[\w.\-]{8,}"
    r"|(?=[\w\-+=]*\d)(?=[\w\-+=]*[A-Za-z])[A-Za-z0-9_\-+=]{40,}"
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_ELSEWHERE = re.compile(r"(?<![\w.~:/\\])(/(?:[^/\s'\"]+/)+|[A-Za-z]:\\(?:[^\\\s'\"]+\\)+)")
_HOMES = re.compile(r"(/home/|/Users/|[A-Za-z]:\\Users\\)[^/\\\s'\"]+")


def environment(folder: str | None = None) -> dict[str, Any]:
    """Return the command line, threads, and the commit of the user's code if it is in a git repository.

    Args:
        folder: a folder of the user's code; None: that of the main script, or the working directory.
    """
    import torch

    found = {
        "command": " ".join(map(_quoted, command_line(sys.argv, sys.orig_argv))),
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
    }
    if (processes := _world_size()) > 1:
        found["world_size"] = processes
    return found | {"code": _commit(folder or _code_folder()) or None}


def _world_size() -> int:
    """Return the number of processes of a `torch.distributed` run; 1 without one."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    text = os.environ.get("WORLD_SIZE", "1")
    return int(text) if text.isdigit() else 1


def command_line(argv: list[str], original: list[str]) -> list[str]:
    """Return the arguments of a command line, without secrets and paths of home directories.

    >>> command_line(["train.py", "--token", "abc", "--lr=0.1", "API_KEY=x"], ["python", "train.py"])
    ['train.py', '--token', '[left out]', '--lr=0.1', 'API_KEY=[left out]']
    """
    first = argv[0] if argv else ""
    if Path(first).name == "__main__.py" or first == "-m":
        package = original[original.index("-m") + 1] if "-m" in original[:-1] else Path(first).parent.name
        head = ["python", "-m", package]
    elif first in ("", "-c", "-"):
        head = ["python", *([first] if first else [])]
    else:
        head = [Path(first).name]
    return [*head, *_shown(argv[1:])]


def _shown(words: Iterable[str]) -> Iterator[str]:
    secret = False
    for word in words:
        name, equals, _ = word.partition("=")
        if secret and not word.startswith("-"):
            yield LEFT_OUT
            secret = False
            continue
        named = bool(_SECRET_NAME.search(name)) and (word.startswith("-") or bool(equals))
        secret = named and not equals
        yield f"{name}={LEFT_OUT}" if named and equals else anonymous(word)


def anonymous(text: str) -> str:
    """Remove likely secrets, home directories, and the names of user and host in paths from a text."""
    text = _PASSWORD_IN_URL.sub("", text)
    text = _SECRET.sub(LEFT_OUT, text)
    working, home = os.getcwd(), os.path.expanduser("~")
    if len(working) > 1:
        text = re.sub(rf"{re.escape(working)}(?=[/\\]|$)", ".", text)
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?=[/\\]|$)", "~", text)
    text = _HOMES.sub("~", text)
    for own in map(re.escape, _own_names()):
        text = re.sub(rf"(?<=[/\\@]){own}(?=[/\\:.]|$)|\b{own}(?=@)", "~", text)
    return _ELSEWHERE.sub("…/", text)


@cache
def _own_names() -> tuple[str, ...]:
    """Return the names of the user and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = ""
    return tuple(name for name in {user, platform.node()} if len(name) > 1)


def _quoted(word: str) -> str:
    return f"'{word}'" if re.search(r"[\s'\"]", word) or not word else word


def _code_folder() -> str:
    """Return the folder of the main script; for installed programs and notebooks, the working directory."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = Path(script).absolute().parent if script else Path.cwd()
    installed = folder.name in ("bin", "Scripts") or "site-packages" in folder.parts
    own = Path(__file__).parents[1] in (folder, *folder.parents)
    return str(Path.cwd() if installed or own else folder)


@cache
def _commit(folder: str) -> dict[str, Any]:
    """Return a folder's commit and whether tracked files differ from it; empty outside a git repository.

    Looked up once per process, because later changes to the code do not affect a running process either.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return {}
    return {"commit": commit, "dirty": bool(changed)}


def _git(folder: str, *words: str) -> str:
    """Return the output of git, run without the hooks and monitors that a repository may configure."""
    command = [
        "git",
        "-C",
        folder,
        "-c",
        "core.fsmonitor=false",
        "-c",
        f"core.hooksPath={os.devnull}",
        *words,
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=_GIT_SECONDS,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout.strip()
