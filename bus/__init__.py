"""Transport between the stages: topics, Kafka set-up and the in-process bus."""
