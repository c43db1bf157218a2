"""Tasks with datasets, solvers and scorers; every score carries its counts and an interval."""
