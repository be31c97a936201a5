"""Two runs that become one: the similarity between their worlds, and their cameras adjusted together."""
