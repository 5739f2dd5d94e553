"""The adapters pass the suites of their frameworks, each in an environment of its own."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "adapters"
ROOT = FOLDER.parents[2]
SUITES = {"langchain": ["-o", "asyncio_mode=auto"], "haystack": []}


def environment(folder, requirements):
    """Make an environment that has what this one has, and further packages; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    (Path(site.strip()) / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-r", requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"the packages cannot be had here: {installed.stderr.splitlines()[-1]}")
    return python


@pytest.mark.heavy
@pytest.mark.parametrize("name", SUITES)
def test_an_adapter_passes_the_suite_of_its_framework(name, tmp_path):
    python = environment(tmp_path / "environment", FOLDER / f"{name}.txt")
    suite = FOLDER / f"{name}_suite.py"
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", *SUITES[name]]
    done = subprocess.run(
        [python, "-m", "pytest", *options, suite],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"},
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
