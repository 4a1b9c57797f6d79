"""The settings on the page for operators can be used as they are printed; `make ha-torture` uses them."""

import re
from collections import defaultdict

from ruamel.yaml import YAML

from tests.ha import page

PLACES: defaultdict[str, str] = defaultdict(lambda: "127.0.0.1:1")


def test_patroni_waits_for_a_second_machine_always() -> None:
    settings = YAML(typ="safe").load(page.patroni(PLACES, synchronous=True))["bootstrap"]["dcs"]
    assert (settings["synchronous_mode"], settings["synchronous_mode_strict"]) == (True, True)
    assert settings["loop_wait"] + 2 * settings["retry_timeout"] <= settings["ttl"]  # Patroni's own rule


def test_the_control_waits_for_none() -> None:
    settings = YAML(typ="safe").load(page.patroni(PLACES, synchronous=False))["bootstrap"]["dcs"]
    assert (settings["synchronous_mode"], settings.get("synchronous_mode_strict")) == (False, None)


def test_haproxy_asks_patroni_for_the_leader_and_closes_what_leads_elsewhere() -> None:
    settings = page.haproxy(PLACES)
    assert "option httpchk GET /primary" in settings
    assert "on-marked-down shutdown-sessions" in settings
    assert len(re.findall(r"^    server ", settings, re.MULTILINE)) == 3
