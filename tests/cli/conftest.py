"""The ``isthmus`` command in this process, with toy encoders installed as a plug-in.

`run` calls the entry point itself; only what is about processes (interrupts, imports) starts one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.cli.main import main

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


@dataclass(frozen=True)
class Result:
    """What a run of the command left behind."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages in which the encoders ``toy/…`` are installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "toy_plugin.py").write_text(PLUGIN)
    info = site / "toy_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isthmus.encoders]\ntoy = toy_plugin:load\n")
    return site


@pytest.fixture(scope="session")
def environment(plugin: Path) -> dict[str, str]:
    """An environment for a process of its own."""
    path = os.pathsep.join([str(plugin), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "120"}


@pytest.fixture
def run(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``isthmus`` with arguments in an empty folder."""
    monkeypatch.syspath_prepend(plugin)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        stdout, stderr = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["isthmus", *map(str, arguments)])
        code: object = 0
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                main()
            except SystemExit as stop:
                code = stop.code or 0
        return Result(int(str(code)), stdout.getvalue(), stderr.getvalue())

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., object]:
    """Run ``isthmus … --json``, expect success, and return what its last line says."""

    def call(*arguments: object) -> object:
        result = run(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    return call
