"""Every setting, one file per stage; imports nothing heavy.

The models' classes are the registry: a discriminated union per kind, `type` telling its members apart. `load.py` turns
YAML into a `Recipe`, or into one error that names the line and the remedy.
"""
