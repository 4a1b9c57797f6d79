"""The exceptions of the models. Knows no model."""


class InsertOnlyError(Exception):
    """A row would have been changed, deleted, or added other than by a flush of a ConfigData."""


class StaleVersion(Exception):  # noqa: N818 - the architecture's word
    """A version was edited that is not its config's head; nothing was written.

    Roll back, read the head and edit that.
    """

    def __init__(self, config: str, version: int, head: int) -> None:
        super().__init__(f"version {version} of {config!r} was edited, but its head is version {head}")
        self.config = config
        self.version = version
        self.head = head
