"""Processes that train together and may come and go: Horovod over Gloo, and who is to take part."""
