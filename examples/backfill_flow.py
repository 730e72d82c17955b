"""Gives every conda package of a store its other format, in as many tasks as wanted.

    python examples/backfill_flow.py run --store s3://bucket/conda_env --shards 64 --max-workers 16
    python examples/backfill_flow.py run --store s3://bucket/conda_env --shards 64 --with kubernetes:image=IMAGE
    python examples/backfill_flow.py run --store s3://bucket/conda_env --shards 64 --with batch:image=IMAGE

Tasks need asynccache installed where they run: here, or in IMAGE. A task that is killed is retried and continues where
it was, also on another machine; the report counts each package once.
"""

import asyncio
import dataclasses
import json

from metaflow import FlowSpec, Parameter, current, retry, step

from asynccache.api import Session
from asynccache.config import load_settings


class BackfillFlow(FlowSpec):
    """Plans ranges of keys with one listing, does each in a task, and adds up what they did."""

    store = Parameter("store", required=True, help="Root of the store, as s3://bucket/conda_env.")
    to = Parameter("to", default=".conda", help="The format to make.")
    shards = Parameter("shards", type=int, default=16, help="How many tasks share the work.")

    @retry(times=3)
    @step
    def start(self) -> None:
        """Divide the keys evenly."""
        asyncio.run(self._plan())
        self.indices = list(range(1, self.shards + 1))
        self.next(self.backfill, foreach="indices")

    @retry(times=4)
    @step
    def backfill(self) -> None:
        """Do one range."""
        asyncio.run(self._backfill(self.input))
        self.next(self.join)

    @retry(times=3)
    @step
    def join(self, inputs: object) -> None:
        """Add up what the shards have written into the store."""
        del inputs
        self.report = asyncio.run(self._report())
        self.next(self.end)

    @step
    def end(self) -> None:
        """Print the report."""
        print(json.dumps(self.report, indent=2))

    def _session(self) -> Session:
        return Session(dataclasses.replace(load_settings().settings, store=self.store))

    @property
    def _run(self) -> str:
        return f"{current.flow_name}/{current.run_id}"

    async def _plan(self) -> None:
        async with self._session() as session:
            await session.plan_backfill(self.to, self.shards, run_id=self._run)

    async def _backfill(self, index: int) -> None:
        async with self._session() as session:
            done = await session.backfill(self.to, shard=(index, self.shards), run_id=self._run)
        done.raise_for_failures()

    async def _report(self) -> dict[str, object]:
        async with self._session() as session:
            run = await session.backfill_run(self.to, self.shards, run_id=self._run)
        run.raise_for_failures()
        return run.as_document()


if __name__ == "__main__":
    BackfillFlow()
