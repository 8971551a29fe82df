"""The papers' experiments: what is trained, measured and compared, and the page that shows it.

:mod:`evaluation.papers.plans` has what each paper compares, with its own figures;
:mod:`evaluation.papers.experiment` runs a plan on a home's catalogue; and
:mod:`evaluation.papers.page` writes the page.
"""
