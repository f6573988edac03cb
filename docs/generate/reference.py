"""Create the reference: a page of the public names, and a page per package with its modules."""

from __future__ import annotations

import ast
from pathlib import Path

import invariscope

SOURCE = Path(invariscope.__file__).parent
# The classes of these packages have pages of their own.
_CATALOGUED = ("measures", "transforms")


def pages() -> dict[str, str]:
    """Return a page for the public names and one per package."""
    packages = sorted(place.parent for place in SOURCE.glob("*/__init__.py"))
    return {
        "reference/index.md": _surface(),
        **{f"reference/{folder.name}.md": _package(folder) for folder in packages},
    }


def _surface() -> str:
    named = [f"::: {home}.{name}" for name, home in sorted(invariscope._HOMES.items())]
    lead = (
        "After `import invariscope as iv`, use these as `iv.measure`, `iv.load` and so on. The classes of "
        "[measures](../measures/index.md) and [transforms](../transforms/index.md) are available in the same "
        "way."
    )
    return "\n\n".join(["# Public names", lead, *named, ""])


def _package(folder: Path) -> str:
    says = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    shown = ["base"] if folder.name in _CATALOGUED else _modules(folder)
    parts = [_block(f"invariscope.{folder.name}.{module}") for module in shown]
    return "\n\n".join([f"# invariscope.{folder.name}", says.split("\n\n")[0], *parts, ""])


def _block(module: str) -> str:
    """Return the directive that documents a module, except for the names on the page of public names."""
    elsewhere = [f"!^{name}$" for name, home in sorted(invariscope._HOMES.items()) if home == module]
    filters = f"\n    options:\n      filters: {['!^_', *elsewhere]}" if elsewhere else ""
    return f"::: {module}{filters}"


def _modules(folder: Path) -> list[str]:
    """Return the dotted names of the public modules in a folder and its subpackages."""
    inside = (place.relative_to(folder).with_suffix("").parts for place in sorted(folder.rglob("*.py")))
    return [".".join(parts) for parts in inside if not any(part.startswith("_") for part in parts)]
