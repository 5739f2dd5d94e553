"""What the service is started with: arguments of ``isthmus serve`` and ``serve.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from isthmus.data.addresses import is_address
from isthmus.errors import InvalidInput, command_in
from isthmus.requests import Request
from isthmus.retrieval.recommend.experiments import Experiment
from isthmus.retrieval.search.scenarios import Scenarios

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
SPACE_SUFFIX: Final = ".space"


class Limits(Request):
    """What one request, and all of them at a time, may take."""

    max_body_bytes: int = Field(default=16 * 2**20, ge=1, description="Largest body, in bytes.")
    max_upload_bytes: int = Field(
        default=2**30,
        ge=1,
        description="Largest body of items, events or users that is a table; one above "
        "max_body_bytes becomes a job.",
    )
    max_k: int = Field(default=1_000, ge=1, description="Largest k, and k beyond an offset.")
    max_candidates: int = Field(
        default=10_000, ge=1, description="Largest num_candidates and rerank_depth."
    )
    max_batch: int = Field(
        default=1_000, ge=1, description="Most vectors, users or ids of one request."
    )
    max_rows: int = Field(default=100_000, ge=1, description="Most items or events of one request.")
    timeout_s: float = Field(default=30.0, gt=0, description="Longest wait for an answer.")
    upload_timeout_s: float = Field(
        default=600.0, gt=0, description="Longest time that a table may take to come."
    )
    max_concurrent: int = Field(
        default=64, ge=1, description="Most requests at a time in one process; others get 503."
    )
    max_concurrent_per_key: int = Field(
        default=32, ge=1, description="Most requests of one key at a time; others get 429."
    )


class Canary(Request):
    """How much of the load is answered exactly too, to measure recall@10 of real queries."""

    share: float = Field(
        default=0.01, ge=0, le=1, description="Share of the queries that are sampled; 0 for none."
    )
    budget: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Largest share of one core that exact answers may take, in each process.",
    )


class ServeSettings(Request):
    """How spaces are served."""

    spaces: Mapping[str, Path] = Field(description="Folder of each space, by its name.")
    host: str = Field(default="127.0.0.1", description="Address to listen at.")
    port: int = Field(default=8080, ge=0, le=65_535, description="Port; 0 for any free one.")
    workers: int = Field(default=1, ge=1, description="Processes.")
    keys: Path | None = Field(
        default=None, description="File of keys, which isthmus keys writes; without one, loopback."
    )
    audit: Path | None = Field(default=None, description="File to log writes into, as JSON lines.")
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Origins whose pages may call the service; none by default."
    )
    rerank_models: tuple[str, ...] = Field(
        default=("late-interaction",), description="Models that a request may name in rerank."
    )
    log: bool = Field(
        default=False,
        description="Whether every recommendation is logged, unless its request says otherwise.",
    )
    retention: float | None = Field(
        default=None,
        gt=0,
        description="Days after which logged recommendations are deleted, in the place of those "
        "of space.toml.",
    )
    experiment: Mapping[str, Any] | None = Field(
        default=None,
        description="A/B test of all recommendations: name, arms and key, see isthmus.Experiment.",
    )
    backups: Mapping[str, str] = Field(
        default={}, description="Places of backups by name: folders, or addresses of storage."
    )
    canary: Canary = Field(default=Canary(), description="How live recall is measured.")
    page: bool = Field(default=True, description="Whether there is a page to look at, at /.")
    fetch: bool = Field(
        default=False, description="Whether images and audio may be fetched from addresses."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or all (GPUs).")
    threads: int = Field(default=8, ge=1, description="Requests that a process works on at once.")
    text_batch: int = Field(
        default=32, ge=1, description="Most texts of concurrent queries that are encoded together."
    )
    drain_s: float = Field(
        default=30.0, ge=0, description="How long running requests may take after a stop."
    )
    limits: Limits = Field(default=Limits(), description="Limits of requests.")

    def check(self) -> None:
        """Raise `InvalidInput` if nothing is served, or the world is let in without keys."""
        super().check()
        if not self.spaces:
            raise InvalidInput("there is no space to serve; give the folder of one or several")
        if self.experiment is not None:
            Experiment.of(self.experiment)
        for name in self.spaces:
            if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
                raise InvalidInput(
                    f"a space cannot be served as {name!r}; give letters, digits, -, _ and ."
                )
        if self.keys is None and self.host not in LOOPBACK:
            raise InvalidInput(
                f"whoever reaches {self.host} could read and write without a key; make one with: "
                "isthmus keys create --keys FILE; then give the file to serve with --keys, or "
                "listen at 127.0.0.1"
            )

    def place_of_backups(self, name: Any, space: str) -> str:
        """Return where a space is backed up, by the name of a place.

        Raises
        ------
        InvalidInput
            If there is no such place.
        """
        if str(name) not in self.backups:
            known = ", ".join(self.backups) or "none"
            raise InvalidInput(
                f"there is no place of backups {str(name)!r} (there are: {known}); serve.toml "
                "names them under [backups]"
            )
        return f"{self.backups[str(name)].rstrip('/')}/{space}"


def check_experiment(settings: ServeSettings) -> None:
    """Raise `InvalidInput` if an arm of the experiment names a scenario that a space lacks."""
    if settings.experiment is None:
        return
    test = Experiment.of(settings.experiment)
    for space, path in settings.spaces.items():
        known = Scenarios(path).all()
        for arm in test.arms:
            scenario = test.arm(arm).scenario
            if scenario is not None and scenario not in known:
                raise InvalidInput(
                    f"the arm {arm!r} of {test.name!r} names the scenario {scenario!r}, which "
                    f"{space!r} does not have; set it first with: "
                    f"{command_in(path, 'scenarios set', scenario)}"
                )


def read_settings(file: Path | None, given: Mapping[str, Any]) -> ServeSettings:
    """Return the settings of a file, those that are given in their place.

    Raises
    ------
    InvalidInput
        If the file cannot be read, or a setting is not valid.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise InvalidInput(f"cannot read {file}: {error}") from error
        for name in ("keys", "audit"):
            if name in values:
                values[name] = file.parent / values[name]
        if isinstance(values.get("backups"), dict):
            values["backups"] = {
                n: p if is_address(p) or "://" in p else str(file.parent / p)
                for n, p in values["backups"].items()
            }
        if isinstance(values.get("spaces"), dict):
            values["spaces"] = {n: file.parent / p for n, p in values["spaces"].items()}
    values |= given
    if isinstance(values.get("limits"), dict):
        values["limits"] = Limits(**values["limits"])
    if isinstance(values.get("canary"), dict):
        values["canary"] = Canary(**values["canary"])
    return ServeSettings(**values)


def named_spaces(folders: list[Path]) -> dict[str, Path]:
    """Return folders by the name that they are served as: their own, without the suffix.

    Raises
    ------
    InvalidInput
        If two have one name.

    Examples
    --------
    >>> sorted(named_spaces([Path("a/shop.space"), Path("news")]))
    ['news', 'shop']
    """
    named: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name.removesuffix(SPACE_SUFFIX)
        if name in named:
            raise InvalidInput(
                f"{named[name]} and {folder} would both be served as {name!r}; name them in the "
                "configuration, under [spaces]"
            )
        named[name] = folder
    return named
