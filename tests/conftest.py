"""Stands here so that this folder is on the import path, and tests of every folder find `support`."""
