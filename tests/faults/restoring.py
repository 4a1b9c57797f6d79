"""Shared by the tests of backups: a client that commits all the time, and checks of a restored database."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

import lamina

README = (Path(__file__).parents[2] / "server" / "README.md").read_text(encoding="utf-8")
CONFIG = "shop/prod"
WAIT_SECONDS = 30.0


def readme_block(begins: str, language: str = "sh") -> str:
    """Return the only block of the server's README with a line that begins with this text."""
    blocks = re.findall(rf"```{language}\n(.*?)\n```", README, re.DOTALL)
    (block,) = [each for each in blocks if re.search(rf"^{re.escape(begins)}", each, re.MULTILINE)]
    return str(block)


class Committing:
    """A thread that commits through the SDK until its block ends: `acknowledged` are its versions so far."""

    def __init__(self, target: str, *, timeout: float = 10.0) -> None:
        self.acknowledged: list[lamina.Version] = []
        self._target = target
        self._timeout = timeout
        self._stop = False
        self._heard = threading.Condition()
        self._thread = threading.Thread(target=self._commit)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def wait_for_more(self, count: int = 10) -> int:
        """Wait until some more commits have been acknowledged; return the newest one's number."""
        with self._heard:
            enough = len(self.acknowledged) + count
            assert self._heard.wait_for(lambda: len(self.acknowledged) >= enough or self._error, WAIT_SECONDS)
            return self.acknowledged[-1].number

    def _commit(self) -> None:
        try:
            with lamina.connect(self._target, author="ada", timeout=self._timeout) as client:
                cfg = client.config(CONFIG)
                while not self._stop:
                    number = cfg.version + 1
                    cfg |= {f"key/{number % 50}": number, "last": number, "é": [number], "Z": b"\x00", "a": 0.5}
                    version = cfg.commit(f"number {number}")
                    with self._heard:
                        self.acknowledged.append(version)
                        self._heard.notify_all()
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            with self._heard:
                self._error = error
                self._heard.notify_all()


def start(target: str) -> None:
    """Make the config, with a map of some megabytes, so that a backup takes more than one step."""
    with lamina.connect(target) as client:
        cfg = client.config(CONFIG, create=True)
        cfg |= {f"large/{number}": "." * 20_000 for number in range(150)}
        cfg.commit("begin")


@contextmanager
def opened(target: str, config: str = CONFIG) -> Iterator[lamina.Config]:
    with lamina.connect(target) as client:
        yield client.config(config)


def check_prefix(live: str, restored: str, *, least: int) -> int:
    """Check that a restored config is the beginning of the live one, at least up to a version; return its head."""
    with opened(live) as whole, opened(restored) as part:
        log = list(part.log())
        assert [version.number for version in log] == list(range(len(log), 0, -1))
        assert least <= part.version == len(log) <= whole.version
        assert [version.hash for version in log] == [version.hash for version in whole.log()][-len(log) :]
        for number in {1, least, len(log)}:
            assert part.at(number) == whole.at(number).to_dict()
        history = list(part.history("last"))
        assert history == list(whole.history("last", limit=len(history)))
        return part.version


@contextmanager
def stale_cursors_fail(target: str) -> Iterator[None]:
    """Check that each call of a client fails that has seen a later version than a restored database has.

    The block must restore an older state of the database than the one at its beginning.
    """
    with lamina.connect(target) as client:
        cfg, commits, reads = client.config(CONFIG), client.config(CONFIG), client.config(CONFIG)
        with cfg.watch(after=cfg.version - 1) as watch:
            next(iter(watch))
            for _ in watch:
                if watch.cursor.startswith(f"{cfg.version}."):
                    break
            cursor = watch.cursor
        yield
        assert refusals(commits, reads, cursor) == dict.fromkeys(("commit", "read", "watch"), "CURSOR_AHEAD")
        with opened(target) as other:
            assert other.version < cfg.version
            while other.version <= cfg.version:
                other["another way"] = other.version
                other.commit("after the restore")
        assert refusals(commits, reads, cursor) == dict.fromkeys(("commit", "read", "watch"), "CURSOR_FORKED")


def refusals(commits: lamina.Config, reads: lamina.Config, cursor: str) -> dict[str, str | None]:
    """Return the server's reason for each refused call of a client that has seen a version which is gone."""
    reasons: dict[str, str | None] = {}
    commits["mine"] = "changed"
    with pytest.raises(lamina.CursorError) as refused:
        commits.commit("on a base that is gone")
    reasons["commit"] = refused.value.reason
    commits.discard()
    with pytest.raises(lamina.CursorError) as refused:
        reads.refresh()
    reasons["read"] = refused.value.reason
    with pytest.raises(lamina.CursorError) as refused, reads.watch(after=cursor) as watch:
        next(iter(watch))
    reasons["watch"] = refused.value.reason
    return reasons
