"""Reporting: self-contained HTML pages with inline figures, and the running counts behind them."""
