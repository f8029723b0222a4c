"""What the numbers of a study say: formulas, without files, clocks or jobs.

    statistics                           speed-up and efficiency, with intervals over jobs
    network                              a sum over ranks in closed form
    model, profile, identifiability      step time by nodes as a sum of named columns, what it predicts, and what the
                                         data cannot tell apart
    target, plan_nodes, predict          samples needed over samples a second: soonest and cheapest

Not here: where numbers come from (../collect.py, ../ahead.py), how they are shown (../report/).
"""
