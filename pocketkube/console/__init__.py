"""What a person at a console sees: how far work is, what libraries say, how a process ends."""
