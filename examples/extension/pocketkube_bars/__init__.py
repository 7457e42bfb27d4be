"""Adds one of each kind to PocketKube: criterion, data set, task, network, layer and stage."""
