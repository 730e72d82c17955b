"""What a store costs, as its user says: there are no default prices."""

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
        requests: For requests, once.
        out: For bytes that are read, once.
        once: Both together.
        once_at_most: The same with all requests that may come on top.
        monthly: For bytes that are stored from then on, each month.
        unpriced: What is needed, and the setting has no price for; it counts nothing.
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
        """What it costs once: requests, and bytes that are read."""
        return self.requests + self.out

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values; amounts are not rounded to a thousandth, as times are."""
        amounts = ("requests", "out", "once", "once_at_most", "monthly")
        return Documented.as_document(self) | {name: float(f"{getattr(self, name):.6g}") for name in amounts}


@dataclass(frozen=True, slots=True)
class Prices:
    """The setting `prices`.

    Attributes:
        said: What is charged for -> how much: 1,000 requests of a kind; a GB that is `stored` for a month, or read
            (`out`).
        currency: Its name; empty if nobody says it.
    """

    said: Mapping[str, float]
    currency: str

    @classmethod
    def of(cls, setting: Mapping[str, Any]) -> Prices | None:
        """Read the setting; None where nobody has said any price."""
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
            at_most: The same with all that may come on top.
            read_bytes: Out of the store.
            written_bytes: That the store holds more in the end.
        """
        needed = {**dict(at_most), "out": read_bytes, "stored": written_bytes}
        unpriced = tuple(name for name, number in needed.items() if number and name not in self.said)
        out = read_bytes / GB * self.said.get("out", 0.0)
        most = self._of_requests((name, number) for name, number in needed.items() if name not in {"out", "stored"})
        monthly = written_bytes / GB * self.said.get("stored", 0.0)
        return Money(self.currency, self._of_requests(requests), out, most + out, monthly, unpriced)

    def _of_requests(self, requests: Iterable[tuple[str, int]]) -> float:
        return sum(number / 1000 * self.said.get(kind, 0.0) for kind, number in requests)
