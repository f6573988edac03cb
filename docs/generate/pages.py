"""Hooks that add generated pages, the navigation and MathML formulas to the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catalogue
import commands
import reference
from coming_from import with_numbers
from mathematics import with_mathml
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parents[1]
PROJECT = DOCS.parent


def made() -> dict[str, str]:
    """Return the path and Markdown of every generated page."""
    return {
        "changelog.md": (PROJECT / "CHANGELOG.md").read_text(),
        "contributing.md": (PROJECT / "CONTRIBUTING.md").read_text(),
        "command_line.md": commands.page(),
        **catalogue.pages(),
        **reference.pages(),
    }


def navigation(found: list[str]) -> list[dict[str, Any]]:
    """Return the site's navigation; the pages within each section are found automatically."""

    def section(folder: str) -> list[str]:
        inside = sorted(uri for uri in found if uri.startswith(f"{folder}/") and uri.endswith(".md"))
        return sorted(inside, key=lambda uri: not uri.endswith("/index.md"))

    whole = [
        {"Home": "index.md"},
        {"Getting started": "getting_started.md"},
        {"Notebooks": "notebooks.md"},
        {"Inputs of any kind": "inputs.md"},
        {"How to": section("worlds")},
        {"Models of any framework": "frameworks.md"},
        {"Coming from": section("coming_from")},
        {"Training networks": "training.md"},
        {"Parallel measurements": "scale.md"},
        {"Interrupted measurements": "resuming.md"},
        {"Monitoring": "monitoring.md"},
        {"Penalties": "penalties.md"},
        {"Concepts": "concepts.md"},
        {"Measures": section("measures")},
        {"Published conventions": "conventions.md"},
        {"Transforms": section("transforms")},
        {"Groups and actions": "groups.md"},
        {"Neurons and feature maps": "neurons.md"},
        {"Reading weights": "weights.md"},
        {"Smooth deformations": "deformations.md"},
        {"Stability": "stability.md"},
        {"Lie derivatives": "lie_derivatives.md"},
        {"Testing": "testing.md"},
        {"Command line": "command_line.md"},
        {"What happens to your model": "model_state.md"},
        {"Errors and skipped layers": "bad_input.md"},
        {"Guarantees": "reliability.md"},
        {"Reproductions": section("reproductions")},
        {"Reference": section("reference")},
        {"Architecture": "architecture.md"},
        {"Contributing": "contributing.md"},
        {"Decisions": section("decisions")},
        {"Changelog": "changelog.md"},
    ]
    return [entry for entry in whole if all(entry.values())]


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Add the generated pages, and set the navigation."""
    for place, text in made().items():
        files.append(File.generated(config, place, content=text))
    config["nav"] = navigation([file.src_uri for file in files.documentation_pages()])
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the table of presets and the numbers of other packages in place of their placeholders."""
    return with_numbers(markdown.replace("<!-- presets -->", catalogue.presets()))


def on_page_content(html: str, **_: Any) -> str:
    """Convert the formulas of a page."""
    return with_mathml(html)
