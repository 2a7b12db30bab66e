"""Stage 2 at the Kafka edge; the only importer of Faust."""
