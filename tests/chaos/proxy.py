"""A TCP proxy on 127.0.0.1 whose connections can be cut or slowed down, all or those of one client."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

IsHit = Callable[[int], bool]  # takes the client's port

_CHUNK = 64 * 1024
_LOOK_SECONDS = 0.05
_DELAY_SECONDS = 0.05


def everyone(port: int) -> bool:
    return True


def nobody(port: int) -> bool:
    return False


@dataclass
class Proxy:
    """Forwards connections to `target` (a port of 127.0.0.1) until it is closed.

    A connection that is cut stays open and carries nothing, as when a network loses every packet. When the
    cut heals it is closed, for what was lost on it would never be sent again.
    """

    target: int
    port: int
    is_cut: IsHit = nobody
    is_slow: IsHit = nobody
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def start(self) -> None:
        """Listen; a thread does the work."""
        listening = threading.Event()
        threading.Thread(target=self._run, args=(listening,), name=f"proxy {self.port}", daemon=True).start()
        assert listening.wait(10)

    def close(self) -> None:
        """End the thread; its connections end with it."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """Delay what every connection carries, for a while."""
        self.is_slow = everyone
        try:
            yield
        finally:
            self.is_slow = nobody

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        listening.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: int = writer.get_extra_info("peername")[1]
        ends = [writer]
        try:
            await self._heal(client)
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(server_writer)
            ways = [
                asyncio.ensure_future(self._forward(client, reader, server_writer)),
                asyncio.ensure_future(self._forward(client, server_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        except OSError:
            pass  # the target is down, which the client hears of
        finally:
            for end in ends:
                with suppress(OSError):
                    end.close()

    async def _forward(self, client: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self.is_slow(client):
                    await asyncio.sleep(_DELAY_SECONDS)
                if self.is_cut(client):
                    await self._heal(client)
                    return
                writer.write(chunk)
                await writer.drain()

    async def _heal(self, client: int) -> None:
        while self.is_cut(client):
            await asyncio.sleep(_LOOK_SECONDS)
