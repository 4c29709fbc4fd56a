"""A study as one page of HTML, for people: nothing else is needed to read it, now or later.

The page has its style and its figures inside and loads nothing. It says what was run and with what,
how far it is, the table and the figures of the results, what was assumed and which bounds hold; and
how to run it again. Several studies that differ in their number of episodes K alone make one page,
which also says how regret grows with K.

    sources     what a page is made of, read from Datasets, files and stores
    contents    Datasets to tables of words
    growth      what several K say
    verdicts    bounds and audits to tables of words
    figures     Datasets to pictures
    rerun       what it takes to run a study again
    page        all of it to HTML, by the template `page.html`
"""

from pajax.report.page import report

__all__ = ["report"]
