"""Several inputs in one call: workers on this machine, on SLURM or on Ray share them; a table says how each ended."""
