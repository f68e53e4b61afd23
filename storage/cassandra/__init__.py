"""The Cassandra store: tables, statements, requests, and the store that drives them through cassandra-driver."""
