"""Reads an identity's rows page by page, each page while the previous one is sent."""

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from crmbot_core.errors import TransientError
from crmbot_producer.source_offset import SourceOffset, check_file
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.sqlite_page import Page


class Poll(NamedTuple):
    """An identity's unsent rows in one snapshot of the file.

    Attributes:
        page: rows to send, None if there are none.
        newest_id: the file's greatest transaction_id.
        has_more: whether the identity has rows after the page.
    """

    page: Page | None
    newest_id: int
    has_more: bool


class PageReader:
    """Reads the rows of one identity of a file.

    Args:
        file: the file; only this reader may use it.
        stream: the stream's name.
        identities: the file's identities at the start of the session, oldest first.
        identity: the one to read.
        page_rows: maximum number of rows in a page.
        max_row_bytes: maximum size of a row's key and JSON together.
    """

    def __init__(
        self,
        file: BotFile,
        stream: str,
        identities: Sequence[Identity],
        identity: Identity,
        *,
        page_rows: int,
        max_row_bytes: int,
    ) -> None:
        self._file = file
        self._stream = stream
        self._identities = identities
        self._identity = identity
        self._page_rows = page_rows
        self._max_row_bytes = max_row_bytes

    def polls(self, offset: SourceOffset, pause: Callable[[], object]) -> Generator[Poll, None, None]:
        """Yield the rows after an offset, endlessly; call `pause` before polling again if there are no more.

        Raises:
            TransientError: the file got a new identity or cannot be read now.
            StoppedError: the file was replaced or restored, or is damaged.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="read") as executor:
            poll = self._poll(offset)
            while True:
                if poll.page is not None:
                    offset = offset.moved_to(poll.page.last_id, poll.page.last_event_id)
                if poll.has_more:
                    next_poll = executor.submit(self._poll, offset)
                    yield poll
                    poll = next_poll.result()
                else:
                    yield poll
                    pause()
                    poll = self._poll(offset)

    def _poll(self, after: SourceOffset) -> Poll:
        file, identity = self._file, self._identity
        with file.snapshot():
            if file.identities() != self._identities:
                raise TransientError(f"{file.path} got a new identity: starting a new session")
            newest_id = file.newest_id()
            _check(file, self._stream, self._identities, identity, after, newest_id)
            end, page = min(newest_id, identity.ends_at), None
            if after.transaction_id < end:
                page = file.page(identity, after.transaction_id, self._page_rows, self._max_row_bytes)
        has_more = page is not None and page.last_id < end
        return Poll(page, newest_id, has_more)


def checked_identities(file: BotFile, stream: str, known: Mapping[str, SourceOffset]) -> list[Identity]:
    """Return the file's identities, each checked against its source offset.

    Raises:
        StoppedError: the file was replaced or restored.
    """
    with file.snapshot():
        identities = file.identities()
        newest_id = file.newest_id()
        for identity in identities:
            if offset := known.get(identity.source_id):
                _check(file, stream, identities, identity, offset, newest_id)
    return identities


def _check(
    file: BotFile,
    stream: str,
    identities: Sequence[Identity],
    identity: Identity,
    offset: SourceOffset,
    newest_id: int,
) -> None:
    check_file(
        file.path,
        stream,
        identity,
        offset,
        is_present=identity == identities[-1],
        newest_id=newest_id,
        event_id_of=file.event_id,
    )
