"""Tests of converted rules: takes loaded rules, returns a test file whose cases were evaluated."""
