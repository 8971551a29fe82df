"""Sources that are written again in their own form."""
