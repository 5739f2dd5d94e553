"""Build the sdist, and the wheel from it; check that the wheel holds every module and no link."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "isthmus"


def expected_files() -> set[str]:
    """Return every file that the package has in the source tree."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def build_wheel(folder: Path) -> Path:
    """Build the sdist into a folder, and the wheel from it; give the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def wheel_files(wheel: Path) -> set[str]:
    """Return the files of a wheel that are not metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def main() -> None:
    """Compare the two."""
    with tempfile.TemporaryDirectory() as folder:
        found, expected = wheel_files(build_wheel(Path(folder))), expected_files()
    missing, extra = sorted(expected - found), sorted(found - expected)
    if missing or extra:
        sys.exit(f"the wheel lacks {missing} and has {extra} too many")
    sys.stdout.write(f"the wheel holds all {len(expected)} files of the package and no others\n")


if __name__ == "__main__":
    main()
