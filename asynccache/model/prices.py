"""What a store costs, at the user's prices: there are no default prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented

GB: Final = 10**9  # bytes


@dataclass(frozen=True, slots=True)
class Money(Documented):
    """What something costs at the user's prices.

    Attributes:
        currency: As the setting `prices` names it; empty if it does not.
        requests: Cost of requests, once.
        out: Cost of bytes read, once.
        once: Both together.
        once_at_most: The same including all requests that may be needed in addition.
        monthly: Cost of additional stored bytes, per month.
        unpriced: What is needed but has no price in the setting; it counts as free.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "currency", "requests", "out", "once", "once_at_most", "monthly", "unpriced",
    )  # fmt: skip

    currency: str
    requests: float
    out: float
    once_at_most: float
    monthly: float
    unpriced: tuple[str, ...]

    @property
    def once(self) -> float:
        """What it costs once: requests, and bytes read."""
        return self.requests + self.out

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values; amounts are not rounded to a thousandth, as times are."""
        amounts = ("requests", "out", "once", "once_at_most", "monthly")
        return Documented.as_document(self) | {name: float(f"{getattr(self, name):.6g}") for name in amounts}


@dataclass(frozen=True, slots=True)
class Prices:
    """The setting `prices`.

    Attributes:
        said: What is charged -> price: 1,000 requests of a kind; a GB that is `stored` for a month, or read (`out`).
        currency: Name of the currency; empty if not set.
    """

    said: Mapping[str, float]
    currency: str

    @classmethod
    def of(cls, setting: Mapping[str, Any]) -> Prices | None:
        """Read the setting; None if no price is set."""
        said = {name: float(rate) for name, rate in setting.items() if name != "currency"}
        return cls(said, str(setting.get("currency", ""))) if said else None

    def of_work(
        self,
        requests: Iterable[tuple[str, int]],
        at_most: Iterable[tuple[str, int]],
        read_bytes: int,
        written_bytes: int,
    ) -> Money:
        """Return what something costs.

        Args:
            requests: Kind -> how many.
            at_most: The same including all that may be needed in addition.
            read_bytes: Bytes read from the store.
            written_bytes: Bytes by which the store grows.
        """
        needed = {**dict(at_most), "out": read_bytes, "stored": written_bytes}
        unpriced = tuple(name for name, number in needed.items() if number and name not in self.said)
        out = read_bytes / GB * self.said.get("out", 0.0)
        most = self._of_requests((name, number) for name, number in needed.items() if name not in {"out", "stored"})
        monthly = written_bytes / GB * self.said.get("stored", 0.0)
        return Money(self.currency, self._of_requests(requests), out, most + out, monthly, unpriced)

    def _of_requests(self, requests: Iterable[tuple[str, int]]) -> float:
        return sum(number / 1000 * self.said.get(kind, 0.0) for kind, number in requests)
