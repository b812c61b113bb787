"""Evaluation: metrics, floors, intervals and the report."""
