"""A folder of unlabelled recordings: index, crops, held-out split, proposed settings, report."""
