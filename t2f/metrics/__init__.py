"""What can be said of generated faces beside real ones: one file for each kind of measure. No torch in here.

`comparison.py` is what a metric looks at, `builtin.py` all of ours and those of other packages, `catalogue.py` their
names and directions, `figures.py` values with their intervals.
"""
