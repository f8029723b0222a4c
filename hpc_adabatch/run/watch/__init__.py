"""Watching a run while it trains, from its journal alone.

    journal_tail.py   the lines that are new since the last look, on a file system over the network too
    signs.py          whether a process still writes in its folder
    position.py       where the run stands: epoch, batch, rate, noise scale, speed, time left
    panel.py          that position as a person sees it: a panel in a terminal, a line in a log
    watch.py          adabatch watch RUN, until the run is over

Rank 0 of a run shows the same position as it trains (run/progress.py).
"""
