"""Pages of the server: overview, review and items, for whoever has only a browser.

They are made by Jinja2 and refreshed in part by htmx; nothing comes from another server, and all of
it works without JavaScript. What comes from the catalogue is shown as text. Each page is a module
with a ``router`` and a ``NAVIGATION`` entry, listed in :mod:`serving.pages.app`.
"""
