"""Create the page of the command line from the help of the commands."""

from __future__ import annotations

import re
from typing import Any

import typer

from invariscope.cli.app import app

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page() -> str:
    """Return the page, which lists each command with its help, examples, arguments and options."""
    whole = typer.main.get_command(app)
    parts = [f"# Command line\n\n{_text(whole.help)}"]
    parts += [_command(command, f"invariscope {name}", 2) for name, command in _inside(whole)]
    return "\n\n".join(parts) + "\n"


def _inside(group: Any) -> list[tuple[str, Any]]:
    return [(name, command) for name, command in getattr(group, "commands", {}).items() if not command.hidden]


def _command(command: Any, name: str, level: int) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([name, *(_placeholder(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    inner = [_command(found, f"{name} {key}", level + 1) for key, found in _inside(command)]
    parts = [f"{'#' * level} {name}", f"    {usage}" if not inner else "", _text(command.help)]
    return "\n\n".join(part for part in [*parts, _table(arguments), _table(options), *inner] if part)


def _text(help_text: str | None) -> str:
    return _ANSI.sub("", help_text or "").replace("\b", "").strip()


def _placeholder(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper().strip("[].")
    name += "..." if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def _table(parameters: list[Any]) -> str:
    if not parameters:
        return ""
    kind = "argument" if parameters[0].param_type_name == "argument" else "option"
    rows = [f"| {_names(p)} | {_default(p)} | {_cell(getattr(p, 'help', None))} |" for p in parameters]
    return "\n".join([f"| {kind} | default | |", "|---|---|---|", *rows])


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_placeholder(parameter)}`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return shown
    default = parameter.default
    if default is None or default == "" or isinstance(default, bool):
        return ""
    return ", ".join(f"`{value}`" for value in (default if isinstance(default, list | tuple) else [default]))


def _cell(text: str | None) -> str:
    return " ".join(_text(text).split()).replace("|", "\\|")
