//! RocketMQ name server: route table and liveness.
