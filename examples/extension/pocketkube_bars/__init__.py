"""Adds one of each kind to PocketKube: a criterion, a data set, a task, a network, a layer and a stage."""
