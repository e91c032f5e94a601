"""Servers that the settings describe: the intake and the console."""
