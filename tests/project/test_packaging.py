"""What the package says of itself agrees: versions, extras, classifiers, and what workflows run."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from marked_pages import ROOT

import invariscope

# They read files and run nothing of the package.
pytestmark = pytest.mark.no_cover

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPMENT = {"bench", "browser", "dev", "docs", "loggers", "models", "worlds"}
WORKFLOWS = {file.name: file.read_text() for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
SHOWN = (ROOT / "examples" / "check.yml").read_text()


def test_the_version_is_the_same_everywhere_and_that_of_the_newest_changes():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert cited is not None
    assert newest is not None
    assert invariscope.__version__ == PROJECT["version"] == cited[1].strip("\"'") == newest[1]


def test_the_extra_of_everything_holds_every_extra_for_users():
    (everything,) = EXTRAS["all"]
    inside = re.fullmatch(r"invariscope\[(.*)\]", everything)
    assert inside is not None
    assert set(inside[1].split(",")) == EXTRAS.keys() - FOR_DEVELOPMENT - {"all"}


def test_an_error_suggests_only_extras_that_exist():
    sources = "".join(file.read_text() for file in sorted((ROOT / "src").rglob("*.py")))
    suggested = {
        name for found in re.findall(r"invariscope\[([a-z_,]+)\]", sources) for name in found.split(",")
    }
    assert suggested
    assert suggested <= EXTRAS.keys()


def test_the_oldest_version_of_python_that_is_declared_is_the_one_required():
    declared = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert PROJECT["requires-python"] == f">={declared[0]}"
    assert declared == sorted(declared)
    assert f"python-version: {declared}".replace("'", '"') in WORKFLOWS["test.yml"]


def test_workflows_run_targets_that_exist_and_hold_no_secret():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    ran = {name: re.findall(r"run: make (\S+)", text) for name, text in WORKFLOWS.items()}
    assert ran.keys() >= {"release.yml", "test.yml"}
    assert all(names and set(names) <= targets for names in ran.values())
    assert not any("secrets." in text for text in WORKFLOWS.values())


def test_workflows_use_one_version_of_each_action():
    used = {name for text in (*WORKFLOWS.values(), SHOWN) for name in re.findall(r"uses: ([^.\s]\S+)", text)}
    assert {name.partition("@")[0] for name in used} >= {"actions/checkout", "actions/setup-python"}
    assert len({name.partition("@")[0] for name in used}) == len(used)


def test_no_job_leaves_a_token_in_its_checkout():
    for text in WORKFLOWS.values():
        steps = [job.get("steps", []) for job in yaml.safe_load(text)["jobs"].values()]
        checkouts = [step for job in steps for step in job if "actions/checkout@" in step.get("uses", "")]
        assert checkouts
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
