"""The contract between the stages: Avro schemas, their codec and the field catalogue. Imports nothing of ours."""
