"""Looks at a cluster and says what is right, what is not, and the command that mends it."""
