"""Phones for a machine that has none: a real adbd over ARM programs in a box, and an emulated one in Python."""
