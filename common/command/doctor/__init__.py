"""Report of the installation. Needs nothing but the standard library, so that it can examine a broken one."""
