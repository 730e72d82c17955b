"""What the tests of this room share."""

from tests.support.filled_store import configured, filled

__all__ = ["configured", "filled"]
