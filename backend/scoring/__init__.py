"""Scores a partitioned parquet data set, with the code that answers requests: `python -m backend.scoring`.

Each input partition becomes one output partition of the same name, with every row in its place. It is written aside and
renamed, and the same input gives the same bytes: done twice, by a repeat or by two workers, it is there once.
"""
