//! The live suite: separate processes on Kafka and a CQL server.
fn _a() {}
