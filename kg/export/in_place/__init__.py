"""Write a source again in its own form, with values of the store in its empty cells.

Which row is which item and which cell is whose property is never decided here: rows are read as an
ingest reads them. A text goes into a cell only if the ingest would read it as the value that is
meant, and nothing else in the row differently; and what was written is read once more as a whole.
"""
