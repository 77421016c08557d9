"""A folder of recordings of which nothing is known: index, crops, held-out split, proposed settings, report."""
