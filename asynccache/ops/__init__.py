"""Whole-cache jobs: list, count, verify, backfill, diagnose. Each can be interrupted and run again."""
