"""The engine: bytes in, renditions out. No Ray, no HTTP, no asyncio in here."""
