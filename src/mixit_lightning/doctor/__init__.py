"""Looking for everything that can be wrong with a set of recordings, before it costs decibels."""
