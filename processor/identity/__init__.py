"""Whose word a batch is: keys of hosts, and the check of each batch's signature before it is decoded."""
