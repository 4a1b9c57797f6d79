"""What the models refuse, as exceptions. Knows no model."""


class InsertOnlyError(Exception):
    """A row was to be changed, deleted, or added past the flush that makes versions."""


class StaleVersion(Exception):  # noqa: N818 - the word of the architecture: it names what the version is
    """A version was edited that is not its config's head; nothing was written.

    Roll back, read the head and edit that.
    """

    def __init__(self, config: str, version: int, head: int) -> None:
        super().__init__(f"version {version} of {config!r} was edited, but its head is version {head}")
        self.config = config
        self.version = version
        self.head = head
