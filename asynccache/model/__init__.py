"""Values: digests, URLs, packages. No I/O, no asyncio."""
