"""Runs for other tools, from their journals: what docs/run-folder.md names, under the same names.

columns.py       all lines of one run or several as a table: a row for each line, a column for each field
table_file.py    that table as CSV, or as Parquet
scalars.py       the curves of a run by tag, as loggers want them
tensorboard.py   those curves as TensorBoard's events, while a run trains or later
wandb.py         the same as an offline run of Weights & Biases, later
export.py        adabatch export RUN [RUN ...]
"""
