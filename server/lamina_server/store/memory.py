"""The store in memory, which tests compare the other stores with. Knows no database; its data ends with the process.

It is made to be obviously right, not fast: each version holds its whole map. A write works
on a copy of the index of configs and replaces the published index at its end, so readers
see all of it or nothing.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import NoReturn, TypeAlias

from lamina_server.domain.planning import Plan
from lamina_server.domain.records import (
    CHANGED_KEYS_LIMIT,
    Change,
    ConfigSummary,
    Entry,
    HeadMark,
    KeyChange,
    Reply,
    RequestKey,
    State,
    Version,
    live_values,
)
from lamina_server.domain.secrets import WrappedKey
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.domain.values import Value
from lamina_server.store.contract import Expected, HistoryBrokenError, OvertakenError, StoreState


@dataclass(frozen=True, slots=True)
class _Layer:
    """One version: its header, its changes, and the state of every key that was ever set; all in key order."""

    version: Version
    changes: tuple[Change, ...]
    states: Mapping[str, State]


Layers: TypeAlias = tuple[_Layer, ...]
"""The versions 1, 2, 3 … of one config."""


@dataclass(frozen=True, slots=True)
class _Content:
    """All data of a store.

    configs      the one that was written last is the last one
    replies      the outcomes of requests, by (caller, request id), each with its content's digest
    secret_keys  the data keys, as they were added
    """

    configs: Mapping[str, Layers]
    replies: Mapping[tuple[str, str], tuple[bytes, Reply]]
    secret_keys: tuple[WrappedKey, ...] = ()


class MemoryStore:
    """A Store that lives as long as its process."""

    is_shared = False
    failure = ""

    def __init__(self) -> None:
        self._content = _Content({}, {})
        self._keyframes: dict[str, int] = {}
        self._write_lock = threading.Lock()

    @contextmanager
    def read(self) -> Iterator["_Reading"]:
        """Open a reading block on what is committed now."""
        yield _Reading(self._content)

    @contextmanager
    def write(self, expected: Expected | None = None) -> Iterator["_Writing"]:  # noqa: ARG002 - nothing to save here
        """Open the writing block."""
        with self._write_lock:
            writing = _Writing(self._content)
            yield writing
            self._content = writing.finished()

    @contextmanager
    def stage(self, plan: Plan, parent: HeadMark | None) -> Iterator["_Staged"]:
        """Keep a plan's parent. There is nothing to make ready."""
        yield _Staged(self, plan.version.config, parent)

    def state(self) -> StoreState:
        """Return that it uses nothing."""
        return StoreState("memory", {})

    def check_writable(self) -> None:
        """Do nothing: memory takes writes."""

    def originated_since_keyframe(self, config: str) -> int:
        """Count the values that originated after the version last marked as a keyframe."""
        keyframe = self._keyframes.get(config, 0)
        return sum(len(layer.changes) for layer in self._content.configs.get(config, ())[keyframe:])

    def write_keyframe(self, config: str) -> None:
        """Mark the head as a keyframe, which makes nothing cheaper here."""
        layers = self._content.configs.get(config)
        if layers and layers[-1].version.key_count:
            self._keyframes[config] = len(layers)

    def notices(self) -> None:
        """Return None: there are no other servers."""

    def close(self) -> None:
        """Do nothing: the data ends with the process."""


class _Staged:
    def __init__(self, store: MemoryStore, config: str, parent: HeadMark | None) -> None:
        self._store = store
        self._config = config
        self._parent = parent
        self._ended = threading.Event()

    def wait(self) -> None:
        self._ended.wait()

    @contextmanager
    def write(self) -> Iterator["_Writing"]:
        try:
            with self._store.write() as writing:
                if writing.head_marks([self._config]).get(self._config) != self._parent:
                    raise OvertakenError
                yield writing
        finally:
            self.end()

    def end(self) -> None:
        self._ended.set()


class _Reading:
    def __init__(self, content: _Content) -> None:
        self.content = content

    def oldest(self, config: str) -> int:  # noqa: ARG002 - nothing is ever compacted here
        return 1

    def refuse_compacted(self) -> None:
        """Do nothing."""

    def head(self, config: str) -> Version | None:
        layers = self._layers(config)
        return layers[-1].version if layers else None

    def head_marks(self, configs: Collection[str]) -> dict[str, HeadMark]:
        heads = {config: head for config in configs if (head := self.head(config))}
        return {config: HeadMark(head.number, head.hash) for config, head in heads.items()}

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        return {n: layer.version for n in numbers if (layer := self._layer(config, n))}

    def log(self, config: str, *, after: int, before: int, limit: int, newest_first: bool) -> list[Version]:
        headers = [layer.version for layer in self._layers(config) if after < layer.version.number < before]
        return (headers[::-1] if newest_first else headers)[:limit]

    def newest_commit_time_us(self) -> int:
        newest = list(self.content.configs.values())[-1:]
        return newest[0][-1].version.commit_time_us if newest else 0

    def version_at(self, config: str, time_us: int) -> int:
        return sum(layer.version.commit_time_us <= time_us for layer in self._layers(config))

    def changed_keys(self, config: str, numbers: Collection[int]) -> Mapping[int, Sequence[str]]:
        layers = {n: layer for n in numbers if (layer := self._layer(config, n))}
        return {
            n: [change.key for change in layer.changes[:CHANGED_KEYS_LIMIT]]
            for n, layer in layers.items()
            if layer.changes
        }

    def configs(self, *, prefix: str, after: str, limit: int) -> list[ConfigSummary]:
        names = sorted(name for name in self.content.configs if name.startswith(prefix) and name > after)
        return [_summary(self.content.configs[name]) for name in names[:limit]]

    def entries(self, config: str, number: int, wanted: KeyFilter = EVERYTHING, *, after: str = "") -> Iterator[Entry]:
        layer = self._layer(config, number)
        for key, state in layer.states.items() if layer else ():
            if state.value is not None and key > after and wanted.matches(key):
                yield Entry(key, state.value, state.origin)

    def states(self, config: str, number: int, keys: Collection[str]) -> dict[str, State]:
        layer = self._layer(config, number)
        return {key: layer.states[key] for key in keys if key in layer.states} if layer else {}

    def values(self, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        return live_values(self.states(config, number, keys))

    def changed_between(
        self, config: str, low: int, high: int, wanted: KeyFilter = EVERYTHING, *, after: str = ""
    ) -> Iterator[str]:
        changed = {change.key for _, change in self.changes(config, after=(low + 1, ""), through=high, wanted=wanted)}
        yield from sorted(key for key in changed if key > after)

    def key_history(
        self, config: str, key: str, *, after: int, before: int, limit: int, newest_first: bool
    ) -> list[KeyChange]:
        found = [
            _key_change(layer.version, change)
            for layer in self._layers(config)
            for change in layer.changes
            if change.key == key and after < layer.version.number < before
        ]
        return (found[::-1] if newest_first else found)[:limit]

    def changes(
        self, config: str, *, after: tuple[int, str], through: int, wanted: KeyFilter = EVERYTHING
    ) -> Iterator[tuple[int, Change]]:
        for layer in self._layers(config):
            number = layer.version.number
            for change in layer.changes:
                if after < (number, change.key) and number <= through and wanted.matches(change.key):
                    yield number, change

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        known = self.content.replies
        return {id_: known[caller, id_] for id_ in request_ids if (caller, id_) in known}

    def secret_keys(self) -> list[WrappedKey]:
        return list(self.content.secret_keys)

    def _layers(self, config: str) -> Layers:
        return self.content.configs.get(config, ())

    def _layer(self, config: str, number: int) -> _Layer | None:
        return next(islice(self._layers(config), number - 1, None), None) if number > 0 else None


class _Writing(_Reading):
    def __init__(self, content: _Content) -> None:
        super().__init__(content)
        self._broken: HistoryBrokenError | None = None

    def finished(self) -> _Content:
        if self._broken:
            raise self._broken
        return self.content

    def insert(self, plan: Plan) -> None:
        config, number = plan.version.config, plan.version.number
        layers = self._layers(config)
        if number != len(layers) + 1:
            self._refuse(HistoryBrokenError.version(config, number, len(layers)))
        layer = _lay(layers[-1].states if layers else {}, plan)
        others = {name: layers for name, layers in self.content.configs.items() if name != config}
        self.content = replace(self.content, configs={**others, config: (*layers, layer)})

    def remember(self, request: RequestKey, reply: Reply) -> None:
        key = (request.caller, request.request_id)
        if key in self.content.replies:
            self._refuse(HistoryBrokenError.request(request.request_id))
        self.content = replace(self.content, replies={**self.content.replies, key: (request.digest, reply)})

    def add_secret_key(self, key: WrappedKey) -> None:
        self.content = replace(self.content, secret_keys=(*self.content.secret_keys, key))

    def _refuse(self, error: HistoryBrokenError) -> NoReturn:
        self._broken = error
        raise error


def _lay(states: Mapping[str, State], plan: Plan) -> _Layer:
    """Make the layer of one version from the states of all keys before it."""
    number = plan.version.number
    changed = {planned.key: State(planned.value, number) for planned in plan.values}
    changes = tuple(Change(planned.key, planned.value) for planned in plan.values)
    return _Layer(plan.version, changes, dict(sorted({**states, **changed}.items())))


def _summary(layers: Layers) -> ConfigSummary:
    head, first = layers[-1].version, layers[0].version
    return ConfigSummary(head.config, head, first.commit_time_us)


def _key_change(version: Version, change: Change) -> KeyChange:
    return KeyChange(change.key, change.value, version.number, version.author, version.message, version.commit_time_us)
