"""Alignment: which items of two sources, or of one, are the same product.

:mod:`~serving.alignment.records` reads items, :mod:`~serving.alignment.counts` counts what their
:mod:`~serving.alignment.texts` have, :mod:`~serving.alignment.index` keeps that,
:mod:`~serving.alignment.corpus` makes items comparable, :mod:`~serving.alignment.blocking` finds
the pairs that are worth comparing, :mod:`~serving.alignment.features` describes a pair,
:mod:`~serving.alignment.model` tells how probable it is that both are the same,
:mod:`~serving.alignment.fitting` learns that from labelled pairs, and
:mod:`~serving.alignment.resolution` makes one-to-one matches and clusters of it.
"""
