"""One module a command: it declares arguments and help, calls one function, and prints.

Importing these loads typer alone, so that `bootstrap --help` answers at once; a command imports its work when called.
"""
