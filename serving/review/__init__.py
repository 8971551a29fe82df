"""Proposals and what people decide about them: see :mod:`serving.review.session`."""
