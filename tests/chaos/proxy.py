"""A TCP proxy on 127.0.0.1 that can block or delay connections, of all clients or of one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ClientFilter = Callable[[int], bool]  # takes the client's port

_CHUNK = 64 * 1024
_POLL_SECONDS = 0.05
_DELAY_SECONDS = 0.05


def all_clients(port: int) -> bool:
    return True


def no_client(port: int) -> bool:
    return False


@dataclass
class Proxy:
    """Forwards connections to `target` (a port of 127.0.0.1) until it is closed.

    A blocked connection stays open and carries nothing, as in a network that drops every packet. It is closed
    when the block ends, because the dropped bytes are lost.
    """

    target: int
    port: int
    is_disconnected: ClientFilter = no_client
    is_slow: ClientFilter = no_client
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def start(self) -> None:
        """Listen in a thread."""
        listening = threading.Event()
        threading.Thread(target=self._run, args=(listening,), name=f"proxy {self.port}", daemon=True).start()
        assert listening.wait(10)

    def close(self) -> None:
        """Stop the thread, which closes the connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """Delay all connections within the block."""
        self.is_slow = all_clients
        try:
            yield
        finally:
            self.is_slow = no_client

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
            directions = [
                asyncio.ensure_future(self._forward(client, reader, server_writer)),
                asyncio.ensure_future(self._forward(client, server_reader, writer)),
            ]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()
        except OSError:
            pass  # the target is down: the client's connection is closed
        finally:
            for end in ends:
                with suppress(OSError):
                    end.close()

    async def _forward(self, client: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self.is_slow(client):
                    await asyncio.sleep(_DELAY_SECONDS)
                if self.is_disconnected(client):
                    await self._heal(client)
                    return
                writer.write(chunk)
                await writer.drain()

    async def _heal(self, client: int) -> None:
        while self.is_disconnected(client):
            await asyncio.sleep(_POLL_SECONDS)
