"""The REST API: a catalogue, its models, search and review behind HTTP.

:func:`serving.api.app.create_app` builds the application, :mod:`serving.api.running` serves it. It
needs the extra ``[serve]``.
"""
