"""The round trip with the real extension, where it is installed already: `make test-compat` installs it."""

import pytest

from tests.compat import round_trip


@pytest.mark.slow
@pytest.mark.skipif(not (round_trip.VENV / "bin" / "python").exists(), reason="`make test-compat` was never run")
@pytest.mark.skipif("not config.getoption('-m')", reason="takes minutes: ask for it with -m slow")
def test_environments_survive_the_exchange_in_both_directions() -> None:
    python = round_trip.installed()
    assert python is not None
    assert {place.name: place.failed for place in round_trip.run(python) if place.failed} == {}
