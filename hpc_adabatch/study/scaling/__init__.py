"""What the numbers of a study say: formulas, without files, clocks or jobs.

    statistics                           speed-up and efficiency, with intervals over jobs
    network, simulator                   a sum over ranks in closed form, and message by message
    model, profile,              step time by nodes as a sum of named columns, what it predicts, and what the data
      identifiability, synthetic         cannot tell apart; machines whose columns are known, to try it on
    target, plan_nodes, predict          samples needed over samples a second: soonest and cheapest

Not here: where numbers come from (../collect.py, ../ahead.py), how they are shown (../report/).
"""
