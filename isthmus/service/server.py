"""Processes that serve: uvicorn, with one worker here or several of their own."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from isthmus.errors import InvalidInput, IsthmusWarning
from isthmus.service.app import make_app
from isthmus.service.connections import Workers
from isthmus.service.metrics import FOLDER_VARIABLE
from isthmus.service.settings import ServeSettings, check_experiment

SETTINGS_VARIABLE: Final = "ISTHMUS_SERVE"
THREADS_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Memory that was freed is given back: allocators keep what each thread had at its most.
ALLOCATION: Final = {"MIMALLOC_PURGE_DELAY": "0", "MALLOC_ARENA_MAX": "2"}
BACKLOG: Final = 2_048
KEEP_ALIVE_S: Final = 75
UNRESPONSIVE_S: Final = 30  # after which a worker is replaced; one that has no core is slow


def serve(settings: ServeSettings) -> None:
    """Serve spaces until the process is told to stop; running requests are answered first.

    Raises
    ------
    InvalidInput
        If the address cannot be listened at.
    """
    check_experiment(settings)
    log_json()
    listening = listen(settings.host, settings.port)
    # Each worker has its share of the cores: more threads would wait for each other.
    share = str(max(1, (os.cpu_count() or 1) // settings.workers))
    for name in THREADS_VARIABLES:
        os.environ.setdefault(name, share)
    for name, value in ALLOCATION.items():
        os.environ.setdefault(name, value)
    os.environ[SETTINGS_VARIABLE] = settings.model_dump_json()
    host, port = listening.getsockname()[:2]
    logging.getLogger("isthmus.service").info(
        "serving %s at http://%s:%s with %s workers",
        ", ".join(settings.spaces),
        f"[{host}]" if ":" in host else host,
        port,
        settings.workers,
    )
    with tempfile.TemporaryDirectory(prefix="isthmus-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        config = _config(settings)
        if settings.workers == 1:
            uvicorn.Server(config).run(sockets=[listening])
        else:
            Workers(config, listening).run()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    InvalidInput
        If that is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise InvalidInput(f"cannot listen at {host}:{port}: {error.strerror or error}") from error
    return listening


def app_of_environment() -> FastAPI:
    """Return the application of a worker, whose settings its parent left in the environment."""
    log_json()
    warnings.simplefilter("ignore", IsthmusWarning)  # they are in the answers
    values = json.loads(os.environ[SETTINGS_VARIABLE])
    values["cors_origins"] = tuple(values["cors_origins"])
    return make_app(ServeSettings.model_validate(values))


def _config(settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        "isthmus.service.server:app_of_environment",
        factory=True,
        loop="asyncio",
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_worker_healthcheck=UNRESPONSIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        # Whoever is behind a proxy is told apart by its key.
        proxy_headers=False,
    )


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, so that no text of a request can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_json(level: int = logging.INFO) -> None:
    """Log to standard error, a JSON object on each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
