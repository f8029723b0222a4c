"""A study's jobs in Slurm's queue.

queue    the place of a study's jobs             submit     no cell twice, whatever happens in between
search   where each cell stands                  cancel     ending jobs
answers  what Slurm's commands print, as jobs    commands   Slurm's commands, called
"""
