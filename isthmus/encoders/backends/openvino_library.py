"""OpenVINO, imported so that it reports nothing to its maker."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """Return the module ``openvino``.

    Its import forks a process that sends a report of the use to a server, wherever the package
    ``openvino_telemetry`` is installed. It does without where that package is missing, and so the
    package is marked as missing in this process.

    Raises
    ------
    ImportError
        If OpenVINO is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
    return import_module("openvino")
