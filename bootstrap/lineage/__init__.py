"""Ledger -> people: the pages in MLflow, the lineage page, the tables of the command line."""
