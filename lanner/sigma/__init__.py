"""Sigma rules: takes Sigma's YAML files, returns rules in Lanner's language and their tests.

Everything here needs the library pySigma, which is optional: only the command imports this package.
"""
