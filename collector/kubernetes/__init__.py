"""The collector of a cluster: objects of the Kubernetes API in, a record of each pod out."""
