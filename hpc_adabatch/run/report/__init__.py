"""The report of a run, or of several beside the first: a table in the terminal, and one page that opens offline.

account                      a run as its folder tells it: complete, stopped, cut off, diverged or training
words, comparison, advice    what is said of it, the same in the terminal and on the page
tables, time_spent, reasons  numbers in rows
curves, thinning, scales     numbers over samples, updates and time
sheet, charts, trust_chart   drawn by Bokeh, which no other module imports but figures, where a page is wanted
sections, page               what comes in which order, as HTML
flags                        the words of the command
"""
