package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stream is the stream that is measured with.
type Stream struct {
	name string
	// Of the server that leads it: producers connect to it, as RocketMQ's clients connect to the master.
	leader     string
	ours       bool
	connection *nats.Conn
	js         jetstream.JetStream
}

// prepareStream finds the stream, or makes it: three replicas, on disk, limits as they are by default.
func prepareStream(ctx context.Context, options Options) (*Stream, error) {
	var first string
	for _, url := range options.servers {
		first = url
	}
	connection, js, err := connect(first)
	if err != nil {
		return nil, err
	}
	stream := &Stream{name: options.stream, connection: connection, js: js}
	if stream.name == "" {
		stream.ours = true
		stream.name = fmt.Sprintf("bench-%016x", time.Now().UnixNano())
	}
	found, err := js.Stream(ctx, stream.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		found, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:     stream.name,
			Subjects: []string{stream.name},
			Storage:  jetstream.FileStorage,
			Replicas: 3,
			// A duplicate is told by a message id, which we send none of. Two minutes is the default.
		})
	}
	if err != nil {
		connection.Close()
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); stream.leader == ""; time.Sleep(100 * time.Millisecond) {
		info, err := found.Info(ctx)
		if err == nil && info.Cluster != nil {
			stream.leader = options.servers[info.Cluster.Leader]
		}
		if stream.leader == "" && time.Now().After(deadline) {
			connection.Close()
			return nil, fmt.Errorf("the stream has no leader: %v", err)
		}
	}
	return stream, nil
}

func (stream *Stream) close() {
	if stream.ours {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := stream.js.DeleteStream(ctx, stream.name); err != nil {
			fmt.Fprintln(os.Stderr, "nats-bench: the stream was not deleted:", err)
		}
	}
	stream.connection.Close()
}
