"""Papers' tables as code: what they list, what was measured of it, and running and keeping what is missing."""
