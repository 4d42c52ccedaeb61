"""Recipes for quantisation, as data: which operators of which layers become what."""
