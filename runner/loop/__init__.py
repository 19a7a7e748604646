"""Paint until it passes: the verdict is acted on, window by window.

`takes` decides (what to paint again, what to keep), `ledger` remembers (takes.json), `rounds` does it.
"""
