"""Scaling studies: how many nodes are worth it, and how much does the growing batch help there?

    spec  ->  submit (slurm | local)  ->  status  ->  collect  ->  results.csv  ->  report, predict

    a study    a grid of cells, kept in a folder
    a cell     one job: a template, other flags
    results    one line a cell

Not here: what a job does (training/, probe/), how its ranks are started (launch/run).
"""
