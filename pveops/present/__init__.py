"""View models, words, tokens, and the one card: shared by notebook, page, static export and terminal. Imports no surface.

Holds the words and looks of things; what may be done is decided elsewhere.
"""
