"""The stages: each takes folders and gives one, whoever runs it and wherever."""
