"""Trained separators for others: files that say what they hold, and loaders that trust none of it."""
