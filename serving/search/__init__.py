"""Search: an index of a home's items, and the ranking of what is found."""
