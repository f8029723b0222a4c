"""The report of a study: a page that opens offline, the same as markdown, pictures and CSV.

lines, history             jobs joined by mode and variant; batch and metric over time
findings                   the summary in words
tables, pictures, canvas   what is shown
sections                   what comes in which order
proposal                   the evidence for a centre, and up to which node count it holds
page, files                HTML; all of it, written
"""
