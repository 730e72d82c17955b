"""One of each store, empty, for attacks that are tried against all of them."""

from tests.store.conftest import store as store  # noqa: PLC0414 - pytest finds it here
