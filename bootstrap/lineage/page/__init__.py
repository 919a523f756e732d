"""The lineage page: structure, style and script in files of their own, and what makes one file of them."""
