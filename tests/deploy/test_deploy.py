"""What is shipped to run the service: it names metrics, extras and options that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.cli.commands import build_app
from isthmus.service.canary import CanaryMetrics
from isthmus.service.log_metrics import FAMILIES
from isthmus.service.metrics import CanaryRecall, Metrics
from isthmus.service.space_metrics import GAUGES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((DEPLOY / "grafana/isthmus.json").read_text())["panels"]


def queries() -> Iterator[str]:
    """Every query of the alerts and of the dashboard, its variables filled in."""
    yield from (rule["expr"] for rule in ALERTS)
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$space", ".*")


def metric_names() -> set[str]:
    """The names that the service exposes."""
    metrics = Metrics()
    CanaryMetrics(metrics)
    collected = list(metrics.registry.collect())
    names = {sample.name for family in collected for sample in family.samples}
    families = {family.name: family.type for family in collected}
    for name, kind in families.items():
        names |= {f"{name}_total"} if kind == "counter" else {name}
        names |= {f"{name}_bucket"} if kind == "histogram" else set()
    recall = {family.name for family in CanaryRecall(metrics.registry).describe()}
    return names | set(GAUGES) | set(FAMILIES) | recall


def test_alerts_and_panels_ask_for_metrics_that_there_are():
    asked = {name for query in queries() for name in re.findall(r"\bisthmus_\w+", query)}
    assert asked <= metric_names()
    assert len(asked) >= 8


def test_every_alert_says_what_to_do():
    for rule in ALERTS:
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_has_a_test():
    tested = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    names = {case["alertname"] for test in tested for case in test["alert_rule_test"]}
    assert names == {rule["alert"] for rule in ALERTS}


def test_the_image_installs_extras_that_there_are_and_is_not_root():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"EXTRA=(\w+)", "\n".join(lines))
    assert set(named) == {"serve", "gpu"} <= set(extras["optional-dependencies"])
    last_stage = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]
    order = [line.split(" ", 1)[0] for line in last_stage if re.match(r"[A-Z]+ ", line)]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "HEALTHCHECK" in order


def test_the_composed_service_cannot_write_to_its_image():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ours = services["isthmus"]
    assert (ours["read_only"], ours["cap_drop"]) == (True, ["ALL"])
    for service in services.values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("./") and not source.startswith("./data"):
                assert (DEPLOY / source).exists(), source
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_units_call_commands_that_there_are(capsys: pytest.CaptureFixture[str]):
    for unit in (DEPLOY / "systemd").glob("*.service"):
        calls = re.findall(r"^ExecStart=/opt/isthmus/bin/isthmus (.*)$", unit.read_text(), re.M)
        assert calls, unit.name
        for call in calls:
            words = [word for word in call.split() if not word.startswith(("-", "$", "/"))]
            command: Any = ["interactions", "add"] if words[0] == "interactions" else words[:1]
            with pytest.raises(SystemExit) as ended:
                build_app()([*command, "--help"])
            assert ended.value.code == 0
            options = re.findall(r"--[a-z-]+", call)
            shown = capsys.readouterr().out
            assert [option for option in options if option not in shown] == []


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing; tests/install_tools.sh installs what root can")
    return path


@pytest.mark.heavy
def test_prometheus_takes_the_rules_and_they_fire_as_they_should(tmp_path: Path):
    promtool = tool("promtool")
    subprocess.run([promtool, "check", "rules", DEPLOY / "alerts.yml"], check=True)
    subprocess.run([promtool, "test", "rules", "alerts_test.yml"], check=True, cwd=DEPLOY)
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "metrics.key").write_text("key")
    subprocess.run([promtool, "check", "config", tmp_path / "prometheus.yml"], check=True)


@pytest.mark.heavy
def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path):
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    subprocess.run([tool("promtool"), "check", "rules", file], check=True)


@pytest.mark.heavy
def test_systemd_takes_the_units(tmp_path: Path):
    analyze = tool("systemd-analyze")
    for unit in (DEPLOY / "systemd").iterdir():
        content = unit.read_text().replace("/opt/isthmus/bin/isthmus", "/bin/true")
        (tmp_path / unit.name).write_text(content.replace("User=isthmus", "User=root"))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    checked = subprocess.run([analyze, "verify", *units], capture_output=True, text=True)
    complaints = [line for line in checked.stderr.splitlines() if str(tmp_path) in line]
    assert (checked.returncode, complaints) == (0, [])
