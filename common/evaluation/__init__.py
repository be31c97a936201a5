"""Benchmarks: what one is, how it is run, and how its figures are told, compared and drawn."""
