"""Where trials come from: ranges and constraints, the methods that propose parameters, and what these are told.

ranges.py       one parameter: from a share of its range to a value, and back
constraints.py  the small grammar of `constraints`
listed.py       grid, random, sobol: trials that depend on nothing but the seed and their number
told.py         what the other methods learn of earlier trials
tpe.py          TPE and the Gaussian process: the one file that imports Optuna
gaussian.py     the process that the Gaussian process runs in
evolution.py    CMA-ES
methods.py      which methods there are, others by entry point, and drawing again until a proposal can be used
reading.py      the words of a sweep file that belong to all this
"""
