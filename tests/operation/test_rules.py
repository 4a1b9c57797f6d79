"""The rules for Prometheus: each alert fires when it should, and at no other time."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.operation.promtool import RULES, promtool

MINUTES = 90
"""How much of a server's life each case has."""


def series(name: str, **labels: str) -> str:
    given = {"job": "lamina", "instance": "a:9464", **labels}
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in given.items())}}}"


def steady(value: float) -> str:
    return f"{value}x{MINUTES}"


def rising(by: float) -> str:
    return f"0+{by}x{MINUTES}"


def buckets(name: str, seconds: float, **labels: str) -> dict[str, str]:
    """Return a histogram of which each amount lies just below `seconds`."""
    bounds = [0.001, 0.25, 0.5, 1.0, 2.5]
    found = {series(f"{name}_bucket", le=str(bound), **labels): rising(60 * (bound >= seconds)) for bound in bounds}
    return {**found, series(f"{name}_bucket", le="+Inf", **labels): rising(60)}


Case = tuple[Mapping[str, str], Mapping[str, str]]


def about(name: str, healthy: str, sick: str, **labels: str) -> Case:
    return {series(name, **labels): healthy}, {series(name, **labels): sick}


def of_errors(reason: str) -> Case:
    return about("lamina_errors_total", steady(0), rising(120), reason=reason)


def of_times(name: str, **labels: str) -> Case:
    return buckets(name, 0.001, **labels), buckets(name, 1.0, **labels)


GIB = 1024**3
ROOM = {series("lamina_database_disk_bytes"): steady(100 * GIB)}
READERS = {series("lamina_database_connections_limit", pool="readers"): steady(4)}
WATCHES_LIMIT = {series("lamina_watches_limit"): steady(20_000)}
FILES = {series("process_max_fds"): steady(1_000)}
ANSWERED = {series("lamina_calls_total", method="Commit", code="OK"): rising(600)}

CASES: Mapping[str, Case] = {
    "LaminaDown": about("up", steady(1), steady(0)),
    "LaminaWorkerSilent": about("lamina_worker_up", steady(1), steady(0), worker="1"),
    "LaminaNotReady": about("lamina_ready", steady(1), steady(0)),
    "LaminaCallsFail": about("lamina_calls_total", steady(0), rising(60), method="Commit", code="UNAVAILABLE"),
    "LaminaCommitsSlow": of_times("lamina_call_duration_seconds", method="Commit"),
    "LaminaReadsSlow": of_times("lamina_call_duration_seconds", method="GetVersion"),
    "LaminaEventLoopLate": of_times("lamina_event_loop_lag_seconds"),
    "LaminaQueueLong": about("lamina_commit_queue_commands", f"600 0x{MINUTES}", steady(600)),
    "LaminaFilesUsedUp": about("process_open_fds", steady(100), steady(950)),
    "LaminaDataDamaged": of_errors("HASH_MISMATCH"),
    "LaminaHistoryLost": of_errors("CURSOR_FORKED"),
    "LaminaBug": of_errors("BUG"),
    "LaminaCommitsUnconfirmed": about("lamina_commits_total", steady(0), rising(1), outcome="unknown"),
    "LaminaDiskFull": of_errors("DISK_FULL"),
    "LaminaDiskFillsUp": about("lamina_database_disk_free_bytes", steady(50 * GIB), steady(5 * GIB)),
    "LaminaWalLarge": about("lamina_database_wal_bytes", steady(64 * 1024**2), steady(GIB)),
    "LaminaKeyframesFail": about("lamina_keyframes_total", steady(0), rising(1), outcome="failed"),
    "LaminaConfigNearLimit": about("lamina_near_limit_versions_total", steady(0), rising(1)),
    "LaminaConnectionsUsedUp": about("lamina_database_connections", f"4 1x{MINUTES}", steady(4), pool="readers"),
    "LaminaPollsFail": about("lamina_polls_total", steady(0), rising(1), outcome="failed"),
    "LaminaWatchesBehind": about("lamina_watch_lag_max_versions", f"5000 0x{MINUTES}", steady(5_000)),
    "LaminaWatchesNearLimit": about("lamina_watches", steady(100), steady(19_000), state="waiting"),
    "LaminaStrangers": of_errors("BAD_CREDENTIALS"),
    "LaminaOpenToOtherMachines": about("lamina_open_to_other_machines", steady(0), steady(1)),
    "LaminaCertificateEndsSoon": about(
        "lamina_certificate_expiry_timestamp_seconds", steady(90 * 86_400), steady(7 * 86_400)
    ),
}
"""For each alert, what a healthy server shows and what a sick one does."""

BESIDE = {**ROOM, **READERS, **WATCHES_LIMIT, **FILES, **ANSWERED}
"""What every server shows."""

MORE: Mapping[str, Case] = {
    "LaminaDiskFillsUp": about(
        "lamina_database_disk_free_bytes", steady(50 * GIB), f"{80 * GIB}-{GIB // 20}x{MINUTES}"
    ),
    "LaminaCallsFail": about("lamina_calls_total", steady(0), rising(60), method="GetVersion", code="INTERNAL"),
}
"""The other ways in which an alert fires."""


def rules() -> list[dict[str, Any]]:
    groups = YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def case(given: Mapping[str, str], firing: str) -> dict[str, Any]:
    """Return one of promtool's tests: which alert fires at its end, and no other; empty: none."""
    values = {**BESIDE, **given}
    samples = [{"labels": f'{{alertname="{firing}"}}', "value": 1}] if firing else []
    question = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": each} for name, each in values.items()],
        "promql_expr_test": [{"expr": question, "eval_time": f"{MINUTES}m", "exp_samples": samples}],
    }


def check(tests: list[dict[str, Any]], folder: Path) -> None:
    file = folder / "tests.yml"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_the_rules_are_in_order() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", RULES)


def test_each_alert_has_a_case_and_says_what_to_do() -> None:
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    assert set(alerts) == set(CASES)
    for name, rule in alerts.items():
        assert set(rule["annotations"]) == {"summary", "action"}, name
        assert rule["labels"]["severity"] in {"page", "ticket"}, name


@pytest.mark.parametrize("cases", [CASES, MORE], ids=["each", "more"])
def test_each_alert_fires_alone_and_only_for_a_sick_server(cases: Mapping[str, Case], tmp_path: Path) -> None:
    healthy = {name: values for each, _ in cases.values() for name, values in each.items()}
    check([case(healthy, ""), *(case(sick, name) for name, (_, sick) in cases.items())], tmp_path)


def test_a_server_that_is_stopping_is_no_alert(tmp_path: Path) -> None:
    stopping = {series("lamina_ready"): steady(0), series("lamina_stopping"): steady(1)}
    check([case(stopping, "")], tmp_path)
