"""Operation of a stage: takes its counters, serves metrics and health over HTTP; and the checks of `lanner doctor`."""
