"""What every room above may need: threads, budgets, task groups, clock, retry, and kernel locks as coroutines."""
