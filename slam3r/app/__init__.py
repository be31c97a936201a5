"""The web application: one page for every system that keeps to `common.presentation`."""
