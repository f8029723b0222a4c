"""``adabatch init``: a folder with a recipe and a batch script for this site, and the commands to type.

flags.py       the questions, as flags
questions.py   the same, asked in a terminal
resources.py   what a job asks for, also read from a batch script that is there
template.py    a batch script of slurm/ or pbs/ with its site's part filled in
recipe.py      a recipe of recipes/ with the task, the data and the precision of the GPU
cli.py         reads, asks, writes and says what comes next
"""
