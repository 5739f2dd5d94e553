"""The wheel, installed into an empty environment, works outside the repository."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.wheel_contents import build_wheel, expected_files, wheel_files

SCRIPT = """
import sys
from pathlib import Path
import isthmus
from isthmus import Space, User
from isthmus.encoders.encoder import Encoder
import numpy as np

assert Path(isthmus.__file__).is_relative_to(sys.prefix), isthmus.__file__


class Letters(Encoder):
    spec, modalities, dim = "letters", frozenset({"text"}), 26
    components = {"kind": "letters"}

    def embed(self, prepared, modality):
        counts = [[text.count(chr(97 + n)) + 1e-3 for n in range(26)] for text in prepared]
        vectors = np.array(counts, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


space = Space.create("s", Letters())
space.upsert([{"item_id": w, "domain": "words", "text": w} for w in ("sea", "jazz", "snow")])
space.publish()
print(space.search("seaside", k=1)[0].item_id)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_every_module_and_no_link(wheel):
    assert wheel_files(wheel) == expected_files()


def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin/python"
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    # Its dependencies are those tested here; only Isthmus itself must come from the wheel.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = subprocess.check_output([python, "-c", SCRIPT], text=True, cwd=tmp_path)
    assert found.split() == ["sea"]
    help_text = subprocess.check_output([environment / "bin/isthmus", "--help"], text=True)
    assert "recommend" in help_text
