"""The command line: it parses, calls one function and prints; every decision is made elsewhere."""
