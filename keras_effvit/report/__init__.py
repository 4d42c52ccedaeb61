"""Measurements as records, tables, pictures and a page."""
