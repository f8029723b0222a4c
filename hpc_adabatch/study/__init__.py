"""Scaling studies: how many nodes are worth it, and how much does the growing batch help there?

plan  ->  place (slurm/ or local): submit, look, cancel  ->  collect  ->  results.csv  ->  report, predict

study      a grid of cells, kept in a folder
cell       one job: a recipe with the cell's own flags
result     one line of results.csv for each cell
"""
