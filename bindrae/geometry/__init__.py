"""Geometry: rigid motions and forward kinematics."""
