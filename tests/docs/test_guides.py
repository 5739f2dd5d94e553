"""Every command and every line of Python in the guides runs as it is written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus.cli.commands import build_app
from tests.shared import built_once

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
CATALOGUE = ROOT / "examples" / "catalogue"
GUIDES = sorted((DOCS / "how-to").glob("*.md"))
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL = ("pip install", "make ", "git ")


@pytest.fixture(scope="session")
def tutorial_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tutorial was followed from its first to its last line."""

    def build(folder: Path) -> None:
        shutil.copytree(CATALOGUE, folder, dirs_exist_ok=True)
        follow(DOCS / "tutorial.md", folder)

    return built_once(tmp_path_factory, "tutorial", build)


@pytest.fixture
def folder(tutorial_folder: Path, tmp_path: Path) -> Path:
    """A copy of that folder, for a guide that changes it."""
    shutil.copytree(tutorial_folder, tmp_path / "work")
    return tmp_path / "work"


def test_the_tutorial_leaves_a_published_recommender(tutorial_folder):
    from isthmus import Space

    space = Space.open(tutorial_folder / "shop.space")
    assert space.current_release is not None
    assert space.count() == 280


# Their verbs have tests of their own, and take 10 to 20 s each in a guide.
HEAVY = (
    "align",
    "evaluate",
    "events",
    "fine-tune",
    "nightly-job",
    "recommend-to-cold-users",
)


@pytest.mark.parametrize(
    "guide",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.heavy] if path.stem in HEAVY else [])
        for path in GUIDES
    ],
)
def test_a_guide_runs_as_it_is_written(guide, folder):
    follow(guide, folder)


def test_the_readme_example_runs(folder):
    follow(ROOT / "README.md", folder)


def follow(page: Path, folder: Path) -> None:
    """Run the blocks of a page in a folder, one after the other."""
    namespace: dict[str, object] = {"__name__": page.stem}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for language, block in BLOCK.findall(page.read_text()):
            if language == "python":
                exec(compile(block, str(page), "exec"), namespace)
            else:
                for command in commands_of(block):
                    run(command)
    finally:
        os.chdir(before)


def commands_of(block: str) -> list[str]:
    """Return the commands of a console block: the lines that begin with a dollar sign."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")]


def run(command: str) -> None:
    """Run a command, those of Isthmus in this process."""
    if command.startswith(INSTALL):
        return
    words = shlex.split(command, comments=True)
    if words[0] == "isthmus":
        with pytest.raises(SystemExit) as stopped:
            build_app()(words[1:], prog_name="isthmus")
        assert stopped.value.code in (0, None), command
    else:
        subprocess.run(command, shell=True, check=True)
