"""The command line `zipmap`: one module per verb, each a thin layer over the Python interface."""
