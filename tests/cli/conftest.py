"""The ``isthmus`` command as a user runs it, with a toy encoder installed as a plug-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("isthmus")
PLUGIN = """
import time

from tests.toy import ToyEncoder


class SlowEncoder(ToyEncoder):
    def embed(self, prepared, modality):
        time.sleep(0.003 * len(prepared))
        return super().embed(prepared, modality)


KINDS = {
    "words": ("text",),
    "colours": ("image",),
    "both": ("text", "image"),
    "sounds": ("text", "audio"),
}


def load(rest, **options):
    if rest == "slow":
        return SlowEncoder("text", spec="toy/slow")
    return ToyEncoder(*KINDS[rest], spec=f"toy/{rest}")
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the encoders ``toy/…`` are installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "toy_plugin.py").write_text(PLUGIN)
    info = site / "toy_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isthmus.encoders]\ntoy = toy_plugin:load\n")
    path = os.pathsep.join([str(site), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "120"}


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run ``isthmus`` with arguments in an empty folder."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(COMMAND), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., object]:
    """Run ``isthmus … --json``, expect success, and give what it says in its last line."""

    def call(*arguments: object) -> object:
        result = run(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    return call
