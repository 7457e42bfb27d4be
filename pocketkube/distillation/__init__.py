"""Distillation: a model learns from the outputs and the features of others."""

from pocketkube.distillation.from_teachers import FromTeachers
from pocketkube.distillation.teacher import Teacher

__all__ = ["FromTeachers", "Teacher"]
