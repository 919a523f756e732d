"""Measurements that compare within one run: what is quoted of them is a ratio."""
