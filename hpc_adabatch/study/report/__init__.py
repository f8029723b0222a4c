"""The report of a study: a page that opens offline, the same as markdown, pictures and CSV.

    lines      jobs joined by mode and variant          findings   the summary in words
    tables     rows                                     pictures, canvas, history   what is drawn
    sections   what comes in which order                page       HTML                 files   all of it, written

Not here: the numbers (../scaling/), the jobs (../collect.py).
"""
