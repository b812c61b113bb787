"""Scripts that run under the Python of another environment; they import nothing of BINDRAE."""
