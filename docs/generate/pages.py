"""Hooks that add generated pages, the navigation and MathML formulas to the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import catalogue
import commands
import gallery
import notebooks
import reference
import shown
from coming_from import with_numbers
from mathematics import with_mathml
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parents[1]
PROJECT = DOCS.parent
_FIGURE = re.compile(r"<!-- gallery: (\w+) -->")


def made() -> dict[str, str | bytes]:
    """Return the path and content of every generated page and image."""
    return {
        "changelog.md": (PROJECT / "CHANGELOG.md").read_text(),
        "agents.md": (PROJECT / "AGENTS.md").read_text().replace("](docs/", "]("),
        "contributing.md": (PROJECT / "CONTRIBUTING.md").read_text(),
        "command_line.md": commands.page(),
        **catalogue.pages(),
        **gallery.files(),
        **notebooks.pages(),
        **reference.pages(),
    }


def navigation(found: list[str]) -> list[dict[str, Any]]:
    """Return the site's navigation; the pages within each section are found automatically."""

    def section(folder: str) -> list[str]:
        inside = sorted(uri for uri in found if uri.startswith(f"{folder}/") and uri.endswith(".md"))
        return sorted(inside, key=lambda uri: not uri.endswith("/index.md"))

    whole = [
        {"Home": "index.md"},
        {"Tutorial": "tutorial.md"},
        {"Getting started": "getting_started.md"},
        {"Plot gallery": section("gallery")},
        {"Which measure?": "which_measure.md"},
        {"Which transform?": "which_transform.md"},
        {"Examples": section("examples")},
        {
            "How to": [
                *section("howto"),
                {"Notebooks": "notebooks.md"},
                {"Parallel measurements": "scale.md"},
                {"Interrupted measurements": "resuming.md"},
                {"Monitoring": "monitoring.md"},
                {"Loggers and formats": "logging.md"},
                {"Penalties": "penalties.md"},
                {"Training networks": "training.md"},
                {"Testing": "testing.md"},
                {"Your equivariance test fails": "failing_tests.md"},
                {"For coding agents": "agents.md"},
            ]
        },
        {"Coming from": section("coming_from")},
        {
            "Data and models": [
                {"Inputs of any kind": "inputs.md"},
                *section("worlds"),
                {"Models of any framework": "frameworks.md"},
                {"Atlas of pretrained models": "atlas.md"},
                {"What happens to your model": "model_state.md"},
                {"Errors and skipped layers": "bad_input.md"},
            ]
        },
        {
            "Concepts": [
                {"Concepts": "concepts.md"},
                {"Limits and footguns": "limits.md"},
                {"Published conventions": "conventions.md"},
                {"Guarantees": "reliability.md"},
            ]
        },
        {"Measures": section("measures")},
        {"Transforms": section("transforms")},
        {
            "Topics": [
                {"Groups and actions": "groups.md"},
                {"Neurons and feature maps": "neurons.md"},
                {"Reading weights": "weights.md"},
                {"Smooth deformations": "deformations.md"},
                {"Stability": "stability.md"},
                {"Lie derivatives": "lie_derivatives.md"},
            ]
        },
        {"Reproductions": _reproductions(section("reproductions"))},
        {"Command line": "command_line.md"},
        {"Reference": section("reference")},
        {
            "Development": [
                {"Architecture": "architecture.md"},
                {"Contributing": "contributing.md"},
                *section("decisions"),
                {"Changelog": "changelog.md"},
            ]
        },
    ]
    return [entry for entry in whole if all(entry.values())]


def _reproductions(found: list[str]) -> list[str]:
    """Return the pages with the overview first, the pages of recipes after it, and the guides last."""
    last = ["reproductions/verdicts.md", "reproductions/running.md"]
    return sorted(found, key=lambda uri: last.index(uri) if uri in last else -1)


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Add the generated pages, and set the navigation."""
    for place, content in made().items():
        files.append(File.generated(config, place, content=content))
    for page in list(files.documentation_pages()):
        if shown.has_blocks(page.content_string):
            _show(page, files, config)
    config["nav"] = navigation([file.src_uri for file in files.documentation_pages()])
    return files


def _show(page: File, files: Files, config: Any) -> None:
    """Run the blocks of a page, and add the files that they make."""
    folder, _, file = page.src_uri.rpartition("/")
    done = shown.shown(page.content_string, file.removesuffix(".md"))
    page.content_string = done.markdown
    for name, content in done.files.items():
        files.append(File.generated(config, f"{folder}/{name}" if folder else name, content=content))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert presets, numbers of other packages and figures of the gallery where a page asks for them."""
    whole = with_numbers(markdown.replace("<!-- presets -->", catalogue.presets()))
    return _FIGURE.sub(r"[![\1: figure of the gallery](gallery/\1.png)](gallery/\1.md)", whole)


def on_page_content(html: str, **_: Any) -> str:
    """Convert the formulas of a page."""
    return with_mathml(html)
