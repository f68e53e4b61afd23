"""The published documents: OpenAPI and AsyncAPI, and the page for people, made from the structs and routes in the code."""
