"""What stands and hangs in rooms: furniture, fittings, and the things of a household."""
