"""Embeddings of the product graph by PyKEEN, as peers: TransE, RotatE and ComplEx.

- :mod:`evaluation.kge.numbering` numbers values and items as PyKEEN's entities.
- :mod:`evaluation.kge.peers` adapts PyKEEN to completion: a statement competes with the other
  values of its property, in training and when ranks are computed.
- :mod:`evaluation.kge.search` tunes by PyKEEN's own search, within a time.
- :mod:`evaluation.kge.folding` gives an item that training has not seen a vector.
- :mod:`evaluation.kge.scorer` scores cells, so that the same evaluation measures them.
"""
