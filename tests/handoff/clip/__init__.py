"""Clips of every colour, orientation and scan."""
