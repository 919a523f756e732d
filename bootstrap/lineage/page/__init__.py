"""The lineage page: structure, style and script in files of their own, and the code that inlines them into one."""
