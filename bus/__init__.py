"""Transport between the stages, over Kafka or in one process: messages of one stage in, delivered to others out."""
