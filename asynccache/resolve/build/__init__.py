"""Building wheels from source."""
