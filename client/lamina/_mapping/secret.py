"""A secret: a value whose content nothing shows but `reveal`. It knows neither messages nor calls.

A secret that was read has *sealed* bytes, which the server has encrypted for one key of one config. Its content is
there only if the server has revealed it. A secret that the user has made has a content, and no sealed bytes.
"""

from enum import Enum
from hmac import compare_digest
from typing import Any, Final, Literal, NamedTuple, NoReturn, SupportsIndex, TypeAlias, final

from lamina._mapping.canonical import INSIDE, json_text, plain_text, read_json
from lamina._mapping.frozen import is_dict, is_list
from lamina._runtime.public import public
from lamina.errors import InvalidError, LaminaError, PermissionDeniedError, UnavailableError

MASK: Final = "••••"
"""Stands for a secret wherever values are shown."""

ContentKind: TypeAlias = Literal["string", "bytes", "json"]


Content: TypeAlias = tuple[ContentKind, str | bytes]
"""Its kind, and the data in canonical form."""


class Absence(Enum):
    """Why the content of a secret is not there."""

    NOT_REVEALED = "was not revealed: no grant of yours has reveal there"
    UNAVAILABLE = "cannot be revealed by the server"
    BUNDLED = "is sealed: a bundle never holds the content of a secret, a server reveals it"
    PICKLED = "is sealed: a pickle never holds the content of a secret, a server reveals it"
    CACHED = (
        "is not in the last-known-good file, and no server has answered yet: cache_secrets= keeps the content of "
        "secrets there, encrypted"
    )


class Source(NamedTuple):
    """Where secrets were read: the config, and why a content is not there, if it is not.

    reason  the server's words for that; empty without any
    """

    config: str
    absence: Absence = Absence.NOT_REVEALED
    reason: str = ""

    @property
    def why(self) -> str:
        """Why a content is not there, as the rest of a sentence."""
        return f"{self.absence.value}: {self.reason}" if self.reason else self.absence.value


# A plain tuple, because a map may have thousands: one with names, or a slot for each field, takes longer to make.
Inside: TypeAlias = tuple[bytes, ContentKind | None, str | bytes, str, Source | None]
"""The sealed bytes, the kind (None: there is no content) and data of the content, the key, and the source."""


@public("lamina")
@final
class Secret:
    """A text, bytes, list or dict that is encrypted where it is kept, and that nothing shows but `reveal`.

        cfg["db/password"] = lamina.Secret("hunter2")
        cfg["db/password"].reveal()

    Its str and repr are a mask. It is true, whatever its content. Two secrets are equal if their contents are; of
    secrets that were not revealed, if the server has sent the same sealed bytes. A secret is no JSON, and none with
    its content is pickled. It cannot be changed, so a copy is the same object.
    """

    __slots__ = ("_inside",)

    _inside: Inside

    def __new__(cls, content: str | bytes | list[Any] | dict[str, Any]) -> "Secret":
        """Make a secret. TypeError or InvalidError for a content that no value could have."""
        failure: InvalidError | TypeError
        try:
            return received(b"", *_content(content), "", None)
        except (InvalidError, TypeError) as error:
            failure = error
            failure.__context__ = None  # such as a UnicodeEncodeError, which has the whole text
        # A program may log the local variables of each frame of a traceback: they must not hold the content.
        del content
        raise failure.with_traceback(None)

    @property
    def is_revealed(self) -> bool:
        """Whether `reveal` returns the content."""
        return content_of(self) is not None

    @property
    def _without_content(self) -> "Secret":
        """The same secret without its content: for a pickle."""
        sealed, _, _, key, source = self._inside
        return received(sealed, None, b"", key, Source(source.config if source else "a config", Absence.PICKLED))

    def reveal(self) -> Any:
        """Return the content: text, bytes, or a list or dict, which are read-only.

        PermissionDeniedError if you may not see it, or if it comes out of a bundle or a pickle; LaminaError with the
        reason SECRETS_UNAVAILABLE if the server cannot decrypt it; UnavailableError if it comes out of a
        last-known-good file that does not hold it.
        """
        _, kind, data, _, _ = self._inside
        if kind is None:
            raise _withheld(self)
        return read_json(data) if kind == "json" and isinstance(data, str) else data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        sealed, kind, data, _, _ = self._inside
        other_sealed, other_kind, other_data, _, _ = other._inside
        if sealed and sealed == other_sealed:
            return True
        if kind is None or kind != other_kind:
            return False
        return compare_digest(_bytes(data), _bytes(other_data))

    def __hash__(self) -> int:
        return hash(Secret)  # the same for all: one of the content would tell which secrets are alike

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"<Secret {MASK}>"

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        if not self.is_revealed:
            return received, self._inside
        raise TypeError(
            "a Secret does not pickle: reveal() returns its content, a Snapshot and an error pickle without it"
        )

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed: make a new one", name=name)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema as schema  # noqa: PLC0415 - whoever calls this has it

        def taking(inner: Any) -> Any:
            return schema.no_info_after_validator_function(cls, inner)

        text = taking(schema.str_schema())
        return schema.json_or_python_schema(
            json_schema=text,
            python_schema=schema.union_schema([schema.is_instance_schema(cls), text, taking(schema.bytes_schema())]),
            serialization=schema.to_string_ser_schema(when_used="json"),
        )


# The slot itself, because a secret refuses to be changed.
_set_inside = vars(Secret)["_inside"].__set__
_new = object.__new__


def received(sealed: bytes, kind: ContentKind | None, data: str | bytes, key: str, source: Source | None) -> Secret:
    """Make a secret that was read, from what is inside. Without a source, it does not know where."""
    made = _new(Secret)
    _set_inside(made, (sealed, kind, data, key, source))
    return made


def sealed_of(secret: Secret) -> bytes:
    """Return the sealed bytes; none for a secret that a user has made."""
    return _inside_of(secret)[0]


def content_of(secret: Secret) -> Content | None:
    """Return the content; None if it is not there."""
    _, kind, data, _, _ = _inside_of(secret)
    return None if kind is None else (kind, data)


def check_movable(secret: Secret, config: str, key: str) -> None:
    """Raise InvalidError if a secret is to be set where it was not read, and its content is not there."""
    _, _, _, read_key, source = _inside_of(secret)
    if secret.is_revealed or source is None or (source.config, read_key) == (config, key):
        return
    text = (
        f"the value of {key!r} is the secret {read_key!r} of {source.config}, which {source.why}; without "
        f"its content it can be set as {read_key!r} of {source.config} alone"
    )
    raise InvalidError(text, reason="BAD_VALUE")


def why_absent(secret: Secret) -> str:
    """Return why the content of a secret is not there, as the rest of a sentence."""
    *_, source = _inside_of(secret)
    return (source or Source("")).why


def _inside_of(secret: Secret) -> Inside:
    return secret._inside  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _withheld(secret: Secret) -> LaminaError:
    _, _, _, key, source = _inside_of(secret)
    source = source or Source("a config")
    text = f"the secret {key!r} of {source.config} {source.why}"
    if source.absence is Absence.CACHED:
        return UnavailableError(text)
    if source.absence is Absence.UNAVAILABLE:
        return LaminaError(text, reason="SECRETS_UNAVAILABLE")
    return PermissionDeniedError(text, reason="NOT_ALLOWED")


def _content(content: object) -> Content:
    if is_list(content) or is_dict(content):
        return "json", json_text(content, INSIDE)
    if isinstance(content, str):
        return "string", plain_text(content, INSIDE)
    if isinstance(content, bytes):
        return "bytes", bytes(content)
    raise TypeError(f"{INSIDE} is text, bytes, a list or a dict, not {type(content).__name__}")


def _bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()
