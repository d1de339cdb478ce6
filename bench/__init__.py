"""The figures in the documentation, each from one command: ``make bench``."""
