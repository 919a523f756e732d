"""Measurements that compare within one run; quote their ratios."""
