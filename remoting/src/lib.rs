//! RocketMQ's remoting wire: frames, headers, stored messages, server and client.
