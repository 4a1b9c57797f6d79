"""One transaction: what the commands of a group are decided on, and what was decided.

A command is decided on three layers: the versions that the group has planned before it, the
heads in memory, and the store. Worked example: the head in memory is version 7, the store's
is 8 (another server wrote it), and the group has planned 9. Version 8's changes are read once,
and lie between memory and version 9. The head is 9, and its value under "x" is the one that 9
set, else the one that 8 set, else the one in memory.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from lamina_server.cache.catch_up import read_changes
from lamina_server.cache.encoded import Codec
from lamina_server.cache.limits import CacheLimits
from lamina_server.cache.maps import HeadMap
from lamina_server.domain.commands import Command, ForkCommand
from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import Change, Entry, HeadMark, Reply, RequestKey, State, Version, VersionChanges
from lamina_server.domain.values import Value
from lamina_server.store.contract import Expected, Writing


@dataclass(slots=True)
class _Layers:
    """A config within the transaction.

    stored   its head in the store
    held     its head in memory; None if memory holds none, or another epoch
    above    the versions that follow `held`, from the store and then planned ones, in order
    changed  what they changed, together
    """

    stored: HeadMark | None
    held: HeadMap | None
    above: list[VersionChanges] = field(default_factory=list)
    changed: dict[str, Value | None] = field(default_factory=dict)

    def add(self, made: VersionChanges) -> None:
        self.above.append(made)
        self.changed.update((change.key, change.value) for change in made.changes)

    def settle(self) -> bool:
        """Forget the versions that the head in memory has reached; return whether none is left."""
        reached = self.held.number if self.held else 0
        above, self.above, self.changed = self.above, [], {}
        for made in above:
            if made.version.number > reached:
                self.add(made)
        return not self.above

    @property
    def head(self) -> Version | None:
        if self.above:
            return self.above[-1].version
        return self.held.version if self.held else None


class Transaction:
    """Answers what a Writing would, from memory wherever possible.

    marks     the heads of the configs in the store
    diverged  the configs of which memory holds another epoch than the store
    made      the versions that memory lacks, in order: other servers' versions, and planned ones
    """

    def __init__(self, writing: Writing, codec: Codec, *, limits: CacheLimits) -> None:
        self._writing = writing
        self._codec = codec
        self._limits = limits
        self._decoded: dict[bytes, Value] = {}
        self._layers: dict[str, _Layers] = {}
        self._replies: dict[tuple[str, str], tuple[bytes, Reply]] = {}
        self.marks: dict[str, HeadMark] = {}
        self.diverged: list[str] = []
        self.made: list[VersionChanges] = []

    def begin(self, heads: Mapping[str, HeadMap], expected: Expected) -> None:
        """Compare the heads in memory with the store, and look up the request ids, for all commands at once."""
        self.marks = marks = self._writing.head_marks(expected.configs)
        self._layers = {name: self._base(name, marks.get(name), heads.get(name)) for name in expected.configs}
        self._replies = {
            (caller, request_id): outcome
            for caller, ids in expected.request_ids.items()
            for request_id, outcome in self._writing.replies(caller, ids).items()
        }

    # --- decided on memory alone ------------------------------------------------------------

    def follow(self, held: HeadMap) -> HeadMark | None:
        """Decide on a head in memory and what was planned on top of it; return the mark of the newest version.

        None if versions were planned on top of another head, which is not in memory any more.
        """
        config = held.version.config
        layers = self._layers.get(config)
        if layers is None:
            layers = self._layers[config] = _Layers(held.mark, held)
        if layers.held is not held or layers.head is None:
            return None
        return HeadMark(layers.head.number, layers.head.hash)

    def settle(self, config: str, requests: Iterable[RequestKey], held: HeadMap | None) -> bool:
        """Forget the versions that the head in memory has reached, and the outcomes of these requests.

        Return False if other versions were planned on a head that is not in memory any more.
        """
        self._decoded.clear()
        for request in requests:
            self._replies.pop((request.caller, request.request_id), None)
        layers = self._layers.get(config)
        if layers is None:
            return True
        is_over, is_held = layers.settle(), layers.held is held
        if is_over or not is_held:
            del self._layers[config]
        return is_over or is_held

    # --- what is read -----------------------------------------------------------------------

    def head(self, config: str) -> Version | None:
        """Return the newest version, which may be a planned one."""
        layers = self._layers[config]
        head = layers.head
        return self._writing.head(config) if head is None and layers.stored is not None else head

    def oldest(self, config: str) -> int:
        """Return the oldest version whose map can be read."""
        mark = self.marks.get(config)
        return mark.oldest if mark else self._writing.oldest(config)

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        """Return the headers of versions, as far as they exist."""
        found = {number: version for number in numbers if (version := self._known_version(config, number))}
        missing = [number for number in numbers if number and number not in found]
        return found | (self._writing.versions(config, missing) if missing else {})

    def values(self, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        """Return the values of keys at a version."""
        layers = self._layers[config]
        if number == 0:
            return {}
        if not layers.above or number < layers.above[0].version.number:
            return self._stored_values(layers, config, number, keys)
        if number != layers.above[-1].version.number:
            return self._writing.values(config, number, keys)
        below = layers.above[0].version.number - 1
        rest = [key for key in keys if key not in layers.changed]
        values = {key: value for key in keys if (value := layers.changed.get(key)) is not None}
        return values | self._stored_values(layers, config, below, rest)

    def states(self, config: str, number: int, keys: Collection[str]) -> dict[str, State]:
        """Return values and tombstones with their origins. Only conflicts need them, so they come from the store."""
        return self._writing.states(config, number, keys)

    def changed_between(self, config: str, low: int, high: int) -> Iterator[str]:
        """Yield the keys that versions in (low, high] changed."""
        return self._writing.changed_between(config, low, high)

    def entries(self, config: str, number: int) -> Iterator[Entry]:
        """Yield the entries of a version."""
        return self._writing.entries(config, number)

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        """Return remembered outcomes, also those of this transaction."""
        known = self._replies
        return {id_: known[caller, id_] for id_ in request_ids if (caller, id_) in known}

    def remembers(self, request: RequestKey) -> bool:
        """Return whether a request has an outcome, maybe of this transaction."""
        return (request.caller, request.request_id) in self._replies

    # --- what is written --------------------------------------------------------------------

    def insert(self, plan: Plan) -> None:
        """Write a planned version."""
        self.add(plan, VersionChanges(plan.version, tuple(Change(each.key, each.value) for each in plan.values)))

    def add(self, plan: Plan, made: VersionChanges) -> None:
        """Write a planned version, whose changes are known."""
        self._writing.insert(plan)
        self._layers[plan.version.config].add(made)
        self.made.append(made)

    def remember(self, request: RequestKey, reply: Reply) -> None:
        """Write the outcome of a request."""
        self._writing.remember(request, reply)
        self._replies[request.caller, request.request_id] = (request.digest, reply)

    # --- memory -----------------------------------------------------------------------------

    def _base(self, config: str, mark: HeadMark | None, held: HeadMap | None) -> _Layers:
        """Compare memory with the store, which no other writer can change now, and read what memory lacks."""
        if held is None or held.mark == mark:
            return _Layers(mark, held)
        missing = None
        if mark is not None and held.number < mark.number:
            with suppress(HashMismatchError):  # of a value that perhaps no command is about; its readers hear of it
                missing = read_changes(self._writing, config, known=held.mark, through=mark.number, limits=self._limits)
        if missing is None:
            self.diverged.append(config)
            return _Layers(mark, None)
        layers = _Layers(mark, held)
        for made in missing:
            layers.add(made)
        self.made += missing
        return layers

    def _stored_values(self, layers: _Layers, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        held = layers.held
        if not keys or number == 0:
            return {}
        if held is None or not held.reaches(number):
            return self._writing.values(config, number, keys)
        values = {}
        for key in keys:
            encoded = held.entry_at(key, number)
            if encoded is not None:
                values[key] = self._decode(encoded)
        return values

    def _decode(self, encoded: bytes) -> Value:
        """Decode a value once, because it is mostly the same at the base and at the head."""
        value = self._decoded.get(encoded)
        if value is None:
            value = self._decoded[encoded] = self._codec.decode_entry(encoded).value
        return value

    def _known_version(self, config: str, number: int) -> Version | None:
        layers = self._layers.get(config)
        if layers is None:
            return None
        if layers.above and number >= layers.above[0].version.number:
            index = number - layers.above[0].version.number
            return layers.above[index].version if index < len(layers.above) else None
        return layers.held.version_at(number) if layers.held else None


def expected_of(requests: Iterable[tuple[RequestKey, Command]]) -> Expected:
    """Return what commands need from the store, and the most that they may write. Nothing is there twice."""
    configs: dict[str, None] = {}
    ids: dict[str, dict[str, None]] = {}
    versions = 0
    for request, command in requests:
        configs.update(dict.fromkeys(configs_of(command)))
        ids.setdefault(request.caller, {})[request.request_id] = None
        versions += 1
    return Expected(list(configs), {caller: list(each) for caller, each in ids.items()}, versions)


def configs_of(command: Command) -> tuple[str, ...]:
    """Return the configs that a command reads or writes."""
    return (command.source, command.target) if isinstance(command, ForkCommand) else (command.config,)
