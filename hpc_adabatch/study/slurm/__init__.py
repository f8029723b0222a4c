"""A study's jobs in Slurm's queue.

queue    the place of a study's jobs             submit     no cell twice, whatever happens in between
search   each cell's state                       cancel     ending jobs
answers  jobs, read from what the commands say   commands   Slurm's commands, called
"""
