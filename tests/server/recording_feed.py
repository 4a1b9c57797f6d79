"""A feed that records its calls, for the tests of its callers."""

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.records import HeadMark, Version
from lamina_server.feed.feed import Feed


class RecordingFeed(Feed):
    """Records each version that is appended, and each mark that is skipped to."""

    def __init__(self) -> None:
        super().__init__(limit_bytes=1_000_000, message_limit_bytes=1_000_000)
        self.announced: list[Version] = []
        self.skipped: list[HeadMark] = []

    def append(self, made: EncodedChanges) -> None:
        self.announced.append(made.version)
        super().append(made)

    def skip_to(self, config: str, mark: HeadMark) -> None:
        self.skipped.append(mark)
        super().skip_to(config, mark)
