"""What every room above may need: threads, budgets, task groups, clock, and kernel locks as coroutines."""
