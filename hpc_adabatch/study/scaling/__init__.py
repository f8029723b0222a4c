"""Formulas of scaling: without files, clocks or jobs.

statistics                           speed-up and efficiency, with intervals over jobs
network                              a sum over ranks in closed form
columns, model, profile              seconds of a step by nodes, fitted to a study's jobs
identifiability                      what the data cannot tell apart
stretches, target, plan_nodes        samples needed over samples a second: soonest and cheapest
"""
