"""Every setting, one file per stage; imports nothing heavy.

The settings' classes are the registry: a union per kind, `type` telling its members apart (`base.ByType`). They answer
what others ask about them, and say what does not fit them. `conflicts/` says which of them cannot work together, and
`load.py` makes a `Recipe` of YAML, or one error that names the line and the remedy.
"""
