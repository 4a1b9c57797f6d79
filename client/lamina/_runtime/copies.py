"""Objects that belong to one process, such as a connection: they refuse to be pickled or copied, and say what to do."""

from typing import ClassVar, NoReturn, SupportsIndex


class Uncopyable:
    """An object that does not pickle or copy."""

    __slots__ = ()

    _instead: ClassVar[str]
    """What to do instead, for the error's text."""

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} does not pickle or copy: {self._instead}")
