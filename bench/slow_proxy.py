"""A TCP proxy that holds back what the client sends for a fixed time, as a network of that round trip does.

python -m bench.slow_proxy PORT SECONDS TTL      # prints its URL; forwards to 127.0.0.1:PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

_BLOCK = 256 << 10  # bytes


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_BLOCK):
            if delay:
                await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(port: int, delay: float, ttl: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_forward(reader, upstream_writer, delay))
            group.create_task(_forward(upstream_reader, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ttl):
            await server.serve_forever()


def main() -> None:
    """Serve until the time is over."""
    port, delay, ttl = sys.argv[1:]
    asyncio.run(_serve(int(port), float(delay), float(ttl)))


if __name__ == "__main__":
    main()
