"""Pages of one run or several: records, labels, plots and sounds."""
