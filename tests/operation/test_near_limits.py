"""The log warns before a limit refuses."""

import json

import pytest

import lamina
from tests.support.scraping import Scraped, scrape, where
from tests.support.server import ServerProcess


def warnings(server: ServerProcess) -> list[dict[str, object]]:
    lines = map(json.loads, server.log.splitlines())
    return [line for line in lines if line["event"] == "a config comes near a limit" and "repeated" not in line]


def test_a_config_that_comes_near_a_limit_is_told_before_a_commit_is_refused() -> None:
    limits = {"LAMINA_SERVER_CONFIG_KEY_LIMIT": "10", "LAMINA_SERVER_CONFIG_LIMIT_BYTES": "1024"}
    limits["LAMINA_SERVER_VALUE_LIMIT_BYTES"] = "1000"
    options = ("--metrics-listen", "localhost:0")
    with ServerProcess("sqlite://", *options, **limits) as server, lamina.connect(server.target) as client:
        many, large = client.config("many", create=True), client.config("large", create=True)
        for number in range(10):
            many[f"key{number}"] = number
            many.commit()
        for size in (100, 800, 900):
            large["text"] = "x" * size
            large.commit()
        many["one too many"] = 11
        with pytest.raises(lamina.LimitError, match="the limit is 10 keys"):
            many.commit()
        found = Scraped(scrape(where(server)))
        server.stop()
        told = warnings(server)
    assert [(line["config"], line["keys"], line["limit_keys"]) for line in told] == [("many", 9, 10), ("large", 1, 10)]
    assert (told[1]["size_bytes"], told[1]["limit_bytes"]) == (904, 1024)  # once an hour, not at each version
    assert found("lamina_near_limit_versions_total") == 3  # of 9 and 10 keys, and of 904 bytes
