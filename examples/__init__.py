"""Programs that show asynccache at work."""
