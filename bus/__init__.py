"""Transport between the stages, over Kafka: messages of one stage in, delivered to others out."""
