"""The walk over a whole database that finds the first broken version of each config. It changes nothing.

It may run beside a server, and beside a compaction: each config is checked up to the head that it has when its turn
comes, and below a head nothing ever changes, but for values that become change points. Memory holds some versions with
their values, and the keys of one map.

Worked example: config `a` has versions 1 to 5,000, and somebody has edited a value of version 3. The walk reads the
headers of 1 to 2,048, and then as many of their values as fit. The value of version 3 does not match its digest: this
is the only finding of `a`. Then the walk checks config `b`.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.secrets import number_of
from lamina_server.domain.values import Kind
from lamina_server.store.sql.prepared import Rows
from lamina_server.store.sql.queries import verify as queries
from lamina_server.store.sql.queries.versions import secret_keys
from lamina_server.store.verify.chain import BrokenError, Chain
from lamina_server.store.verify.inspection import Inspection

_BEFORE_ALL = -(2**63)
"""The version to begin after: not 0, so that rows with a negative number are found too."""

Advance = Callable[[int], object]
"""Called with how many more versions were checked."""


@dataclass(frozen=True, slots=True)
class Portion:
    """How much one statement reads at most.

    versions    headers: about a megabyte, and up to 4 KiB more for each long message
    values      values, unless a single version has more
    size_bytes  the size of these values, unless a single version's are larger
    rows        configs, or outcomes of requests
    """

    versions: int = 2_048
    values: int = 20_000
    size_bytes: int = 32 * 1024 * 1024
    rows: int = 10_000


_PORTION = Portion()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    breaks  whether an answer would be wrong or missing; a damaged keyframe only costs time, because no read uses it
    """

    what: str
    config: str | None = None
    version: int | None = None
    breaks: bool = True

    def __str__(self) -> str:
        place = [] if self.config is None else [f"config {self.config!r}"]
        place += [] if self.version is None else [f"version {self.version}"]
        return f"{', '.join(place)}: {self.what}" if place else self.what


class Verification:
    """One walk, with the numbers of what it has checked so far."""

    def __init__(self, inspection: Inspection, portion: Portion = _PORTION) -> None:
        self._ask = inspection.ask
        self._portion = portion
        self.configs = self.versions = self.values = 0
        self._data_keys: dict[int, tuple[str, int]] = {}  # by number: the first config and version that needs it

    def total(self) -> int:
        """Return how many versions there are to check; 0 if the database is too damaged to count them."""
        with suppress(HashMismatchError):  # which is found again
            ((count,),) = self._ask(queries.version_count())
            return int(count)
        return 0

    def findings(self, advance: Advance) -> Iterator[Finding]:
        """Check everything, and yield what is not intact: for each config its first broken version."""
        for part in (self._configs(advance), self._strays(), self._outcomes(), self._lost_secrets()):
            try:
                yield from part
            except HashMismatchError as error:  # of the list itself; what lies behind the damage cannot be read
                yield Finding(str(error))

    def _configs(self, advance: Advance) -> Iterator[Finding]:
        after = 0
        while configs := self._ask(queries.configs(), after=after, limit=self._portion.rows):
            for config in configs:
                self.configs += 1
                yield from self._of_config(config, advance)
            after = configs[-1].id

    def _of_config(self, config: Any, advance: Advance) -> Iterator[Finding]:
        chain = Chain(config.name)
        try:
            yield from self._walk(config, chain, advance)
            self._check_end(config, chain)
        except BrokenError as error:
            yield Finding(str(error), config.name, error.version)
        except HashMismatchError as error:
            yield Finding(str(error), config.name, chain.number + 1)
        except (ArithmeticError, AttributeError, TypeError, ValueError):  # SQLite takes a text for a number
            yield Finding("has a column of a wrong type", config.name, chain.number + 1)
        advance(config.head - chain.number)  # the versions that were not checked, so that the progress reaches its end

    def _walk(self, config: Any, chain: Chain, advance: Advance) -> Iterator[Finding]:
        low = _BEFORE_ALL
        span = {"config_id": config.id, "high": config.head}
        while rows := _records(self._ask(queries.headers(), low=low, limit=self._portion.versions, **span)):
            for batch in _batches(rows, self._portion):
                yield from self._take(config, chain, low, batch)
                low = batch[-1].version
                advance(len(batch))

    def _take(self, config: Any, chain: Chain, low: int, rows: Sequence[Any]) -> Iterator[Finding]:
        span = {"config_id": config.id, "low": low, "high": rows[-1].version}
        keyframes = {row.id for row in self._ask(queries.keyframes(), **span)}
        values = _records(self._ask(queries.values(), **span))
        # In this order: a value that is taken away meanwhile is not missed, and neither is the cut that has allowed it.
        points = _records(self._ask(queries.points(), **span))
        oldest = self._oldest(config)
        by_version = groupby(_joined(values, points), attrgetter("version"))
        number, of_number = next(by_version, (None, ()))
        for row in rows:
            if number is not None and number < row.version:
                raise BrokenError(number, "is missing, and has values")
            mine: Sequence[Any] = ()
            if number == row.version:
                mine = list(of_number)
                number, of_number = next(by_version, (None, ()))
            chain.add(row, mine, oldest=oldest)
            self.versions += 1
            for value in mine:
                self.values += hasattr(value, "id")
                if getattr(value, "kind", None) == Kind.SECRET:
                    self._data_keys.setdefault(number_of(value.bytes_value) or 0, (config.name, row.version))
            if row.id in keyframes and not self._is_keyframe(row.id, chain) and row.version >= self._oldest(config):
                what = "its keyframe is not its map; reads do not use it, which costs time and nothing else"
                yield Finding(what, config.name, row.version, breaks=False)

    def _oldest(self, config: Any) -> int:
        ((oldest,),) = self._ask(queries.oldest(), config_id=config.id)
        return int(oldest)

    def _is_keyframe(self, id_: int, chain: Chain) -> bool:
        lines = self._ask(queries.lines(), keyframe=id_, limit=chain.key_count + 1)
        return chain.is_keyframe(line.config_value_id for line in lines)

    def _check_end(self, config: Any, chain: Chain) -> None:
        if not config.head:
            raise BrokenError(1, "is missing")
        if chain.number < config.head:
            raise BrokenError(chain.number + 1, "is missing")
        ((beyond,),) = self._ask(queries.beyond(), config_id=config.id)
        if beyond is not None:
            raise BrokenError(beyond, "is missing, and has values")

    def _strays(self) -> Iterator[Finding]:
        """Look for rows without a config or version, which the walk over configs does not find."""
        for kind in ("version", "value"):
            ((id_,),) = self._ask(queries.without_config(kind))
            if id_ is not None:
                yield Finding(f"there is a {kind} of a config that has no name (config_name_id {id_})")
        ((id_,),) = self._ask(queries.lines_without_version())
        if id_ is not None:
            yield Finding(f"there is a keyframe of a version that is not there (config_id {id_})", breaks=False)

    def _lost_secrets(self) -> Iterator[Finding]:
        """Look for secrets that no outer key can reveal any more, because their data key is not there."""
        there = {row.number for row in self._ask(secret_keys())} if self._data_keys else set()
        for number, (config, version) in self._data_keys.items():
            if number not in there:
                yield Finding("has a secret whose data key is not in the database", config, version)

    def _outcomes(self) -> Iterator[Finding]:
        """Look for remembered outcomes that cannot answer a retry."""
        caller = request_id = ""
        while rows := self._ask(queries.outcomes(), after_caller=caller, after_id=request_id, limit=self._portion.rows):
            for row in rows:
                lost = row.created if row.config_id is None else row.found != row.config_name
                if lost:
                    yield Finding(f"the outcome of request {row.request_id!r} is not a version of it", row.config_name)
            caller, request_id = rows[-1].caller, rows[-1].request_id


def _joined(values: Sequence[Any], points: Sequence[Any]) -> Sequence[Any]:
    """Return values and change points in order of version and name; of two at one place, the value."""
    if not points:
        return values
    places = {(value.version, value.name) for value in values}
    left = [point for point in points if (point.version, point.name) not in places]
    return sorted([*values, *left], key=attrgetter("version", "name"))


def _records(rows: Rows) -> list[Any]:
    """Return rows as named tuples: each column is read several times, which is twice as fast with them."""
    if not rows:
        return []
    make: Callable[[Any], Any] = _record(rows[0]._fields)._make
    return list(map(make, rows))


@cache
def _record(fields: tuple[str, ...]) -> Any:
    return namedtuple("Record", fields)  # noqa: PYI024 - its fields are the columns of a statement


def _batches(rows: Sequence[Any], portion: Portion) -> Iterator[Sequence[Any]]:
    """Divide versions so that the values of each part fit: a version's values are no larger than its whole map."""
    begin = values = size_bytes = 0
    for place, row in enumerate(rows):
        values += row.change_count
        size_bytes += row.size_bytes
        if place > begin and (values > portion.values or size_bytes > portion.size_bytes):
            yield rows[begin:place]
            begin, values, size_bytes = place, row.change_count, row.size_bytes
    yield rows[begin:]
