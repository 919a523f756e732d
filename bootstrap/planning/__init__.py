"""What a recipe would do and cost; asks the same resolver as the run (`stages/resolver.py`). Touches nothing."""
