"""KServe v2 over gRPC: messages, operations made of them, connections, and the errors of this package."""
